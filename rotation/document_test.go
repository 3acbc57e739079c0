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
		"newer version":               func(d *Document) { d.Format = 2 },
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
