package keysetdtest_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestOtherProject runs the README's recipe in a module that is not ours. Nothing is fetched and its
// go.sum is not mended: both must be complete.
func TestOtherProject(t *testing.T) {
	const dir = "testdata/otherproject"
	code, err := os.ReadFile(dir + "/login_test.go")
	if err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(readme), "```go\n"+string(code)+"```\n") {
		t.Errorf("README.md does not have %s/login_test.go as it is", dir)
	}
	const recipe = "go test ./..."
	if !strings.Contains(string(readme), "\n"+recipe+"\n```\n") {
		t.Errorf("README.md does not say %s", recipe)
	}
	args := append(strings.Fields(recipe), "-count=1")
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOPROXY=off", "GOWORK=off")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v (if its go.mod is to be updated: go mod tidy in %s)\n%s", recipe, err, dir, out)
	}
}
