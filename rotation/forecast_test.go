package rotation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"keysetd.example/hsm"
	"keysetd.example/internal/keyspec"
)

func TestForecast(t *testing.T) {
	rs384 := testPolicy()
	rs384.Algorithms = []jose.SignatureAlgorithm{jose.RS384}
	manual, both := testPolicy(), testPolicy()
	manual.Manual, both.Specs = true, []keyspec.Spec{keyspec.P256, keyspec.RSA2048}
	two := document(gen(1, Active), gen(2, Pending))
	for _, tt := range []struct {
		name   string
		doc    Document
		policy Policy
		obs    Observation
		want   []string // the first ones
		total  int      // 0: as many as are told at most
	}{
		{"turn by turn", two, testPolicy(), Observation{}, []string{"12h0m0s activate 2", "12h0m0s generate 10", "24h0m0s activate 10", "24h0m0s generate 11", "24h0m0s withdraw 1", "24h0m0s destroy 1"}, 0},
		{"the token is down, and the clock suspect: as if they were not", two, testPolicy(), Observation{ClockSuspect: true}, []string{"12h0m0s activate 2"}, 0},
		{"by hand: nothing", two, manual, Observation{}, nil, -1},
		{"a new keyset", document(), testPolicy(), Observation{}, []string{"0s generate 1", "0s activate 1", "0s generate 2", "12h0m0s activate 2"}, 0},
		{"a new spec", two, both, Observation{}, []string{"0s generate 10", "0s dismiss 2", "6h0m0s activate 10", "6h0m0s generate 11"}, 0},
		{"an algorithm", two, rs384, Observation{}, []string{"0s entries 0", "6h0m0s entries 0", "12h0m0s activate 2"}, 0},
		{"other static keys", document(gen(1, Active, of(rsaA, ecX))), staticPolicy(rsaB, ecX, rsaA), Observation{}, []string{"0s adopt 10", "6h0m0s activate 10"}, 2},
		{"and none is previous", document(gen(1, Active, of(rsaA, ecX))), staticPolicy(rsaB, ecX), Observation{}, []string{"0s adopt 10", "6h0m0s activate 10", "18h0m0s withdraw 1"}, 3},
		{"and a previous one that was never seen", document(gen(1, Active, of(rsaA, ecX))), staticPolicy(rsaA, ecX, rsaB), Observation{}, []string{"0s adopt 10"}, 1},
		{"back to dynamic", document(gen(1, Active, of(rsaA, ecX))), testPolicy(), Observation{}, []string{"0s generate 10", "6h0m0s activate 10", "6h0m0s generate 11"}, 0},
		{"frozen", frozen("20h", gen(1, Active), gen(2, Pending)), testPolicy(), Observation{}, []string{"20h0m0s activate 2"}, 0},
		{"a watermark", document(gen(1, Retired), gen(2, Active), gen(3, Pending)), manual, Observation{Watermarks: map[int]time.Time{1: at("40h")}}, []string{"40h0m30s withdraw 1", "40h0m30s destroy 1"}, 2},
		{"the store is an old one: nothing is made", document(gen(1, Active)), testPolicy(), Observation{Ahead: true}, nil, -1},
		{"removed", func() Document { d, _ := two.remove(by, testPolicy(), t0); return d }(), func() Policy { d, _ := two.remove(by, testPolicy(), t0); return d.farewell() }(), Observation{},
			[]string{"12h0m0s withdraw 1", "12h0m0s withdraw 2", "12h0m0s destroy 1", "12h0m0s destroy 2"}, 4},
	} {
		t.Run(tt.name, func(t *testing.T) {
			list := forecast(tt.doc, tt.policy, tt.obs, t0)
			var got []string
			for i, f := range list {
				got = append(got, fmt.Sprintf("%v %s %d", f.At.Sub(t0), f.Kind, f.Generation))
				if i > 0 && f.At.Before(list[i-1].At) || f.Reason == "" {
					t.Errorf("%+v after %v", f, got)
				}
			}
			n := map[bool]int{true: tt.total, false: maxForecast}[tt.total != 0]
			if len(got) != max(n, 0) || !slices.Equal(got[:min(len(tt.want), len(got))], tt.want) {
				t.Errorf("%d steps:\n%s\nwant %d:\n%s", len(got), strings.Join(got[:min(len(got), len(tt.want)+2)], "\n"), n, strings.Join(tt.want, "\n"))
			}
		})
	}
}

// It comes to an end, whatever is wrong.
func TestForecastEnds(t *testing.T) {
	stuck := document(gen(1, Active, lost), gen(2, Pending, lost), gen(3, Pending, lost), gen(4, Pending, lost))
	stuck.Abandoned = slices.Repeat([]Abandoned{late("x")}, maxAbandoned)
	stuck.Intents = []Intent{attempt(5, Generate), attempt(6, Destroy)}
	revoked, _, _ := document(gen(1, Active, of(rsaA, ecX))).revoke(RevokeAct{Act: Act{KID: "A"}}, staticPolicy(rsaA, ecX), true, t0)
	short := Policy{Specs: testPolicy().Specs, Token: "hsm", Usage: hsm.Sign, Period: 2 * time.Second, MaxAge: time.Second}.WithDefaults()
	for name, list := range map[string][]Forecast{
		"stuck":           forecast(stuck, testPolicy(), Observation{}, t0),
		"a revoked key":   forecast(revoked, staticPolicy(rsaA, ecX), Observation{}, t0),
		"nothing counted": forecast(document(gen(1, Active)), testPolicy(), Observation{Up: up("hsm")}, t0),
		"short":           forecast(document(gen(1, Active), gen(2, Pending)), short, Observation{}, t0),
	} {
		if len(list) > maxForecast {
			t.Errorf("%s: %d steps", name, len(list))
		}
	}
}
