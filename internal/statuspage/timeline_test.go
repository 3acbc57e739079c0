package statuspage

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	v1 "keysetd.example/api/v1"
)

func TestForesee(t *testing.T) {
	past := []Phase{{1, "retired", noon.Add(-30 * day), noon}, {2, "active", noon.Add(-10 * day), noon}, {3, "pending", noon.Add(-day), noon}}
	in := func(days int) time.Time { return noon.Add(time.Duration(days) * day) }
	coming, to := foresee(past, []v1.PlannedStep{
		{At: in(5), Step: "withdraw", Generation: 1},
		{At: in(10), Step: "activate", Generation: 3},
		{At: in(20), Step: "withdraw", Generation: 2},
		{At: in(25), Step: "destroy", Generation: 2},
		{At: in(90), Step: "generate", Generation: 4},
	}, noon.Add(-30*day), noon)
	if !to.Equal(in(30)) {
		t.Errorf("drawn up to %v", to)
	}
	want := []Phase{
		{1, "retired", noon, in(5)}, {2, "active", noon, in(10)}, {3, "pending", noon, in(10)},
		{2, "retired", in(10), in(20)}, {3, "active", in(10), in(30)},
	}
	if len(coming) != len(want) {
		t.Fatalf("foreseen %v, want %v", coming, want)
	}
	for i := range want {
		if coming[i] != want[i] {
			t.Errorf("phase %d: %v, want %v", i, coming[i], want[i])
		}
	}
}

// TestDrawn: whatever there is, all of it lies within the drawing.
func TestDrawn(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := func(label string) time.Time {
			return noon.Add(time.Duration(rapid.Int64Range(-int64(4000*day), int64(400*day)).Draw(t, label)))
		}
		var k Keyset
		for range rapid.IntRange(0, 20).Draw(t, "phases") {
			p := Phase{rapid.IntRange(1, 12).Draw(t, "generation"), rapid.SampledFrom([]string{"pending", "active", "retired", "else"}).Draw(t, "state"), at("from"), time.Time{}}
			if rapid.Bool().Draw(t, "over") {
				p.To = at("to")
			}
			k.Phases = append(k.Phases, p)
		}
		k.FrozenUntil = at("frozen")
		k.Revoked = []v1.RevokedKey{{KID: "x", At: at("revoked")}}
		var steps []v1.PlannedStep
		for range rapid.IntRange(0, 8).Draw(t, "steps") {
			steps = append(steps, v1.PlannedStep{At: at("step"), Generation: rapid.IntRange(1, 14).Draw(t, "of"), Step: rapid.SampledFrom([]string{"generate", "activate", "dismiss", "withdraw", "destroy"}).Draw(t, "kind")})
		}
		line := drawTimeline(&k, steps, noon)
		if line == nil {
			return
		}
		if len(line.Lanes) == 0 || len(line.Lanes) > maxLanes || len(line.Ticks) > 8 || line.Frost < 0 || line.Now < line.Left || line.Now+line.Frost > line.Right+0.1 {
			t.Fatalf("%+v", line)
		}
		for _, l := range line.Lanes {
			for _, b := range l.Bars {
				if b.X < line.Left || b.X+b.W > line.Right+1 || b.Y < line.Top || b.Y+b.H > line.Floor {
					t.Fatalf("bar %+v is outside of %+v", b, line)
				}
			}
		}
		for _, m := range append(line.Marks, line.Ticks...) {
			if m.X < line.Left || m.X > line.Right {
				t.Fatalf("mark %+v is outside", m)
			}
		}
	})
}

func TestPresentAlone(t *testing.T) {
	k := Keyset{Keyset: v1.Keyset{Name: "k", Generations: []v1.Generation{{Number: 4, State: "active", Since: noon.Add(-time.Hour)}}}}
	line := drawTimeline(&k, nil, noon)
	if line == nil || len(line.Lanes) != 1 || len(line.Lanes[0].Bars) != 1 || line.Lanes[0].Bars[0].Title != "generation 4 is active since 2026-11-22 11:00" {
		t.Fatalf("%+v", line)
	}
	if !strings.Contains(line.Title, "generation 4 active since 2026-11-22 11:00") {
		t.Errorf("its name is %q", line.Title)
	}
	if drawTimeline(&Keyset{}, nil, noon) != nil {
		t.Error("something is drawn of nothing")
	}
}

func TestTicks(t *testing.T) {
	for shown, want := range map[time.Duration]string{
		10 * time.Minute: "11:52 11:54 11:56 11:58", day: "18:00 00:00 06:00", 80 * day: "14 Sep 28 Sep 12 Oct 26 Oct 9 Nov",
		200 * day: "Jul 2026 Sep 2026 Nov 2026", 3000 * day: "Mar 2020 Sep 2021 Mar 2023 Sep 2024 Mar 2026",
	} {
		from := noon.Add(-shown)
		var labels []string
		for _, tick := range ticks(from, noon, func(at time.Time) float64 {
			return gutter + (timelineWidth-gutter)*at.Sub(from).Seconds()/shown.Seconds()
		}) {
			labels = append(labels, tick.Label)
		}
		if got := strings.Join(labels, " "); got != want {
			t.Errorf("%v: %s", shown, got)
		}
	}
}

func TestWords(t *testing.T) {
	for got, want := range map[string]string{
		span(0):                                "0 s",
		span(61 * time.Second):                 "1 min 1 s",
		span(-3*day - 4*time.Hour):             "3 d 4 h",
		span(2 * time.Hour):                    "2 h",
		ahead(noon.Add(90*time.Minute), noon):  "in 1 h 30 min",
		ahead(noon.Add(-30*time.Second), noon): "30 s ago",
		latencyWord(180 * time.Microsecond):    "180 µs",
		latencyWord(1440 * time.Microsecond):   "1.4 ms",
		latencyWord(beyond):                    "> 10 s",
		latencyWord(2500 * time.Millisecond):   "2.5 s",
		rateWord(0):                            "–",
		rateWord(0.1):                          "6.0/min",
		rateWord(1234.4):                       "1234/s",
		shortKID("0123456789abcdef"):           "0123456789…",
		shortKID("0123456789ab"):               "0123456789ab",
		plural(1, "key") + plural(0, "key"):    "1 key0 keys",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
