package daemon_test

import (
	"encoding/json"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "keysetd.example/"

// floors are the packages of the house from the top down. A package imports packages
// below it, or beside it as far as besides says; never one above.
var floors = [][]string{
	{"cmd/", "scripts/"},
	{"client/keysetdtest"},
	{"client/keysetdtest/internal/process"},
	{"internal/dev"},
	{"internal/daemon"},
	{"internal/statuspage"},
	{"internal/config"},
	{"client/internal/clienttest"},
	{"signing/signingtest"},
	{"client/keysetdjose", "client/keysetdjwt", "client/keysetdoauth2"},
	{"signing/door", "client"},
	{"signing"},
	{"signing/policy", "signing/jwe", "internal/audit"},
	{"hsm/ceremony"},
	{"rotation/store", "jwks", "jwks/x5c"},
	{"rotation", "hsm/hsmtest", "hsm/hsmtest/memory"},
	{"hsm", "hsm/worker"},
	{"hsm/wire", "api/v1", "api/v1/keysetdpb"},
	{"internal/jwa", "internal/metric", "internal/harden", "internal/version"},
	{"internal/keyspec"},
}

// beside lists the imports within one floor that are meant.
var beside = map[string][]string{
	"hsm/hsmtest": {"hsm/hsmtest/memory"},
	"jwks":        {"jwks/x5c"},
}

// alone names what only some packages may import.
var alone = map[string][]string{
	"github.com/miekg/pkcs11":          {"hsm/worker"},
	"github.com/ThalesIgnite/crypto11": {"hsm/ceremony"},
	"go.etcd.io/bbolt":                 {"rotation/store"},
	"github.com/goccy/go-yaml":         {"internal/config"},
	"github.com/spf13/cobra":           {"cmd/keysetd", "cmd/keysetctl"},
}

type pkg struct {
	ImportPath, Name      string
	Imports, Deps         []string
	CgoFiles, TestGoFiles []string
	Standard              bool
}

func (p pkg) path() string { return strings.TrimPrefix(p.ImportPath, module) }

func list(t *testing.T, args ...string) []pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Name,Imports,Deps,CgoFiles,Standard"}, args...)...)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

func floorOf(path string) int {
	return slices.IndexFunc(floors, func(floor []string) bool {
		return slices.ContainsFunc(floor, func(p string) bool {
			return path == p || strings.HasSuffix(p, "/") && strings.HasPrefix(path, p)
		})
	})
}

// TestImportsGoDown holds the house of the design against the code.
func TestImportsGoDown(t *testing.T) {
	pkgs := list(t, module+"...")
	if len(pkgs) < 20 {
		t.Fatalf("go list found %d packages only", len(pkgs))
	}
	for _, p := range pkgs {
		floor := floorOf(p.path())
		if floor < 0 {
			t.Errorf("%s has no place in the house: give it one in floors", p.path())
			continue
		}
		for _, imported := range p.Imports {
			if only, ok := alone[imported]; ok && !slices.Contains(only, p.path()) {
				t.Errorf("%s imports %s, which only %v may", p.path(), imported, only)
			}
			path, ours := strings.CutPrefix(imported, module)
			if !ours {
				continue
			}
			to := floorOf(path)
			if to < floor || to == floor && !slices.Contains(beside[p.path()], path) {
				t.Errorf("%s imports %s, which is not below it", p.path(), path)
			}
		}
	}
}

// TestWhatMayNotBeReached names packages that must stay free of others, also through
// what they import.
func TestWhatMayNotBeReached(t *testing.T) {
	for from, never := range map[string][]string{
		"hsm":           {"github.com/go-jose/", module + "internal/jwa", module + "hsm/worker"},
		"hsm/worker":    {"github.com/go-jose/", module + "rotation", module + "internal/config"},
		"jwks":          {module + "rotation", module + "hsm", module + "signing"},
		"client":        {module + "hsm", module + "rotation", module + "signing"},
		"cmd/keysetctl": {module + "hsm/worker", "github.com/miekg/"},
	} {
		for _, dep := range list(t, module+from)[0].Deps {
			for _, bad := range never {
				if dep == bad || strings.HasPrefix(dep, strings.TrimSuffix(bad, "/")+"/") {
					t.Errorf("%s reaches %s", from, dep)
				}
			}
		}
	}
}

// TestPureGo: the operator's tool and the client build without a C compiler.
func TestPureGo(t *testing.T) {
	for _, p := range list(t, "-deps", module+"cmd/keysetctl", module+"client", module+"hsm", module+"rotation") {
		if len(p.CgoFiles) > 0 && !p.Standard {
			t.Errorf("%s needs cgo", p.ImportPath)
		}
	}
}
