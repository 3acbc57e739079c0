package rotation

import (
	"strings"
	"testing"
)

func TestDocumentValidate(t *testing.T) {
	if err := document(gen(1, Retired), gen(2, Active), gen(3, Pending)).Validate(); err != nil {
		t.Error(err)
	}
	for want, change := range map[string]func(*Document){
		"unknown state \"odd\"":       func(d *Document) { d.Entries = []Entry{{Algorithm: "RS384", State: "odd"}} },
		"which was revoked":           func(d *Document) { d.Revoked = []Revocation{{KID: "kid-2", ID: []byte{2}}} },
		"a live generation has it":    func(d *Document) { d.Intents = []Intent{attempt(3, Destroy)} },
		"newer version":               func(d *Document) { d.Format = Format + 1 },
		"format 0 is unknown":         func(d *Document) { d.Format = 0 },
		"names no keyset":             func(d *Document) { d.Keyset = "" },
		"generation 2 stands after 3": func(d *Document) { d.Generations = []Generation{gen(3, Active), gen(2, Pending)} },
		"last number given is 2":      func(d *Document) { d.Last = 2 },
		"unknown state":               func(d *Document) { d.Generations[0].State = "done" },
		"has no keys":                 func(d *Document) { d.Generations[0].Keys = nil },
		"2 generations are active":    func(d *Document) { d.Generations[0].State = Active },
		"unknown kind":                func(d *Document) { d.Intents = []Intent{attempt(1, "sell")} },
		"intent is for generation 0":  func(d *Document) { d.Intents = []Intent{attempt(0, Destroy)} },
		"intent is for generation 10": func(d *Document) { d.Intents = []Intent{attempt(10, Generate)} },
		"abandoned attempt (CKA_ID 78) is for generation 0": func(d *Document) {
			d.Abandoned = []Abandoned{late("x")}
			d.Abandoned[0].Generation = 0
		},
	} {
		d := document(gen(1, Retired), gen(2, Active), gen(3, Pending))
		change(&d)
		if err := d.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// While the clock is suspect attempts are swept; that must not hide that it is.
func TestNewest(t *testing.T) {
	d := document(gen(1, Active))
	d = d.begin([]Attempt{{Token: "hsm", ID: []byte("x")}}, at("1h"))
	d, _ = d.abandoned(10, nil, at("-1h"))
	if !d.newest().Equal(at("1h")) {
		t.Errorf("newest %v", d.newest())
	}
}
