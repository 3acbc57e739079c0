package rotation

import (
	"testing"
	"time"
)

// In an epoch, an abandoned attempt is looked for at its start and 1, 2, 4, 8, 10 minutes after it was seen last.
func TestAbandonedIsLookedFor(t *testing.T) {
	for _, tt := range []struct {
		name                 string
		begun, since, looked string
		epoch                string
		clean                int
		found                int
		now                  string
		next                 string // "" when it leaves the record
		wantClean            int
	}{
		{"after its sweep", "-1s", "0s", "0s", "-1s", 0, 0, "1m", "2m", 0},
		{"never in its own epoch alone", "-1s", "0s", "24h", "-1s", 0, 0, "48h", "96h", 0},
		{"in the next epoch, once", "-2s", "0s", "0s", "-1s", 0, 0, "1m", "2m", 1},
		{"often but not for long", "-2s", "0s", "4m", "-1s", 3, 0, "8m", "10m", 4},
		{"not a nanosecond too short", "-2s", "0s", "8m", "-1s", 4, 0, "9m59.999999999s", "10m", 5},
		{"long and often enough", "-2s", "0s", "8m", "-1s", 4, 0, "10m", "", 0},
		{"for long but once", "-2s", "0s", "0s", "2h", 0, 0, "2h", "2h1m", 1},
		{"for long and twice", "-2s", "0s", "2h", "2h", 1, 0, "2h1m", "", 0},
		{"seen at last", "-2s", "0s", "8m", "-1s", 4, 2, "10m", "11m", 0},
		{"and from then on", "-2s", "10m", "18m", "-1s", 4, 0, "19m59s", "20m", 5},
		{"until it may go", "-2s", "10m", "18m", "-1s", 5, 0, "20m", "", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := late("x")
			a.Begun, a.Since, a.Looked, a.Clean = at(tt.begun), at(tt.since), at(tt.looked), tt.clean
			other := late("other")
			doc, events := abandoned(document(gen(1, Active)), a, other).purged(map[string]int{"x": tt.found}, at(tt.epoch), at(tt.now))
			if last := len(doc.Abandoned) - 1; string(doc.Abandoned[last].ID) != "other" || doc.Abandoned[last].Looked != other.Looked {
				t.Errorf("one that was not looked for: %+v", doc.Abandoned)
			}
			if (len(events) == 1 && events[0].What == "removed") != (tt.found > 0) {
				t.Errorf("events %+v", events)
			}
			if left := len(doc.Abandoned) == 1; left || tt.next == "" {
				if !left || tt.next != "" {
					t.Errorf("it left the record: %v", left)
				}
				return
			}
			got := doc.Abandoned[0]
			if next := got.lookAt(at(tt.epoch)); got.Clean != tt.wantClean || !next.Equal(at(tt.next)) {
				t.Errorf("clean %d, looked for again at %v (%v); want %d, %s", got.Clean, next, next.Sub(t0), tt.wantClean, tt.next)
			}
			if got.lookAt(at(tt.now).Add(time.Hour)).After(at(tt.now).Add(time.Hour)) {
				t.Error("it is not looked for when the next epoch begins")
			}
		})
	}
}

func TestAbandonedAreThoseOfUnknownEnd(t *testing.T) {
	doc := document(gen(1, Active))
	doc = doc.begin([]Attempt{{Token: "hsm", ID: []byte("ended")}, {Token: "hsm", ID: []byte("cut off")}}, t0)
	doc, events := doc.abandoned(10, map[string]bool{"ended": true}, at("1m"))
	want := Abandoned{Attempt: Attempt{Token: "hsm", ID: []byte("cut off")}, Generation: 10, Begun: t0, Since: at("1m"), Looked: at("1m")}
	if len(doc.Intents) != 0 || len(doc.Abandoned) != 1 || string(doc.Abandoned[0].ID) != "cut off" || len(events) != 1 {
		t.Fatalf("%+v, %+v", doc, events)
	}
	got := doc.Abandoned[0]
	got.ID, want.ID = nil, nil
	if got.Generation != want.Generation || got.Begun != want.Begun || got.Since != want.Since || got.Looked != want.Looked {
		t.Errorf("%+v, want %+v", got, want)
	}
}
