package statuspage

import (
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	v1 "keysetd.example/api/v1"
	"keysetd.example/internal/metric"
)

const day = 24 * time.Hour

// noon is the present of these tests.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// meter is the daemon's metrics, as far as the page reads them.
type meter struct {
	*prometheus.Registry
	sign, decrypt *prometheus.HistogramVec
	queue         *prometheus.GaugeVec
}

func newMeter() meter {
	labels := []string{"alg", "outcome"}
	m := meter{
		prometheus.NewPedanticRegistry(),
		prometheus.NewHistogramVec(metric.Seconds("keysetd_sign_duration_seconds", "."), labels),
		prometheus.NewHistogramVec(metric.Seconds("keysetd_decrypt_duration_seconds", "."), labels),
		prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "keysetd_queue_length", Help: "."}, []string{"token"}),
	}
	m.MustRegister(m.sign, m.decrypt, m.queue)
	return m
}

// lively is a page of a daemon that has been through something, with a quarter of an hour of
// signatures behind it.
func lively(planned bool) *Page {
	m := newMeter()
	at := noon.Add(-remembered)
	opts := Options{Source: livelyView, Gather: m, Now: func() time.Time { return at }}
	if planned {
		opts.Plan = livelyPlan
	}
	p := New(opts)
	for i := range int(remembered/sampleEvery) + 1 {
		at = noon.Add(-remembered).Add(time.Duration(i) * sampleEvery)
		wave := 1 + 0.5*math.Sin(float64(i)/9)
		for j := range 40 + i%7*10 {
			spread := 1 + float64(j%10)/5
			m.sign.WithLabelValues("RS256", "ok").Observe(0.0011 * wave * spread)
			m.sign.WithLabelValues("ES256", "ok").Observe(0.0002 * wave * spread)
		}
		if i%11 < 7 {
			m.sign.WithLabelValues("EdDSA", "ok").Observe(0.004 * wave)
		}
		if i > 63 && i < 67 {
			m.sign.WithLabelValues("RS256", "ok").Observe(0.04)
			m.sign.WithLabelValues("PS256", "error").Observe(5)
		}
		m.decrypt.WithLabelValues("RSA-OAEP-256", "ok").Observe(0.003)
		m.queue.WithLabelValues("hsm-b").Set(3)
		p.sample()
	}
	return p
}

func livelyView() View {
	return View{
		Version: "v1.4.0-3-g02bde53", Started: noon.Add(-17*day - 4*time.Hour),
		Why:      "keyset payments-legacy has no key that signs",
		Warnings: []string{"the audit log's checkpoint is late since 11:52: token hsm-b is down"},
		Tokens: []v1.Token{
			{Name: "hsm-a", Up: true, Since: noon.Add(-17 * day), Label: "keysetd", Model: "LunaSA 7.8.1", Serial: "1238700701"},
			{Name: "hsm-b", Since: noon.Add(-9 * time.Minute), Label: "keysetd-b", Model: "LunaSA 7.8.1", Serial: "1238700712",
				Problem: "the worker's C_Login answered CKR_DEVICE_REMOVED; it is tried again at 12:00:21"},
		},
		Keysets: []Keyset{rotating("default", "jwt", 90*day, 71*day), rotating("mobile", "jwt", 7*day, 5*day), frozen(), legacy(), lostOne(), {Keyset: v1.Keyset{
			Name: "partner-old", Purpose: "none", Mode: "removed", Algorithms: []string{}, Problem: "it was removed from the configuration; its keys leave the page at 2026-11-29T12:00:00Z",
			Generations: []v1.Generation{{Number: 9, State: "retired", Since: noon.Add(-3 * day), Keys: []v1.Key{key(9, "p-256", "ES256")}}},
		}}, {Keyset: v1.Keyset{
			Name: "wallet-enc", Purpose: "enc", Mode: "static", Ready: true, Algorithms: []string{},
			Generations: []v1.Generation{{Number: 1, State: "active", Since: noon.Add(-200 * day), Keys: []v1.Key{key(77, "rsa-3072")}}},
		}}},
	}
}

func key(n int, spec string, algorithms ...string) v1.Key {
	return v1.Key{KID: fmt.Sprintf("%02dKq3vXz7_pLmN4wR8tYuB2sD6fGhJ0cV1aZxE9oI-%s", n, spec), Spec: spec, Token: "hsm-a", ID: "00", Algorithms: algorithms}
}

// rotating is a keyset of period in the middle of its life: its active generation is of this age.
func rotating(name, purpose string, period, age time.Duration) Keyset {
	activated := noon.Add(-age)
	gen := func(n int, state string, since time.Time) v1.Generation {
		return v1.Generation{Number: n, State: state, Since: since, Keys: []v1.Key{
			key(n, "rsa-2048", "RS256", "PS256"), key(n+40, "p-256", "ES256"),
		}}
	}
	k := Keyset{
		Keyset: v1.Keyset{
			Name: name, Purpose: purpose, Mode: "dynamic", Issuer: "https://" + name + ".example", Ready: true, Algorithms: []string{"RS256", "PS256", "ES256"},
			NextRotation: activated.Add(period),
			Generations:  []v1.Generation{gen(12, "active", activated), gen(13, "pending", noon.Add(-age/5)), gen(11, "retired", activated)},
		},
		Phases: []Phase{
			{10, "active", activated.Add(-2 * period), activated.Add(-period)},
			{10, "retired", activated.Add(-period), activated.Add(-period * 2 / 3)},
			{11, "pending", activated.Add(-period * 4 / 3), activated.Add(-period)},
			{11, "active", activated.Add(-period), activated},
			{11, "retired", activated, time.Time{}},
			{12, "pending", activated.Add(-period / 3), activated},
			{12, "active", activated, time.Time{}},
			{13, "pending", noon.Add(-age / 5), time.Time{}},
		},
	}
	k.Generations[0].Keys[0].NotAfter = noon.Add(400 * day)
	return k
}

func frozen() Keyset {
	k := rotating("checkout", "jwt", 30*day, 29*day)
	k.FrozenUntil = noon.Add(4 * day)
	k.NextRotation = k.FrozenUntil
	k.Revoked = []v1.RevokedKey{{KID: "9aKq3vXz7_pLmN4wR8tYuB2sD6fGhJ0cV1aZxE9oI", At: noon.Add(-31 * day), By: "uid 1001", Reason: "seen in a log of the build"}}
	return k
}

func legacy() Keyset {
	k := rotating("payments-legacy", "any", 30*day, 12*day)
	k.Ready, k.Algorithms = false, []string{}
	k.Problem = "token hsm-b is down; until it is back nothing is made, activated or destroyed on it"
	return k
}

func lostOne() Keyset {
	k := rotating("batch-settlement", "raw", 30*day, 3*day)
	k.Generations[2].Keys[1].Lost = noon.Add(-26 * time.Hour)
	k.Problem = "key 51Kq3vXz7_ (p-256, retired, generation 11) is lost since 2026-11-21T10:00:00Z: token hsm-a is logged in and does not have it; it stays published and does not sign: bring it back to the token, which is looked at every minute"
	return k
}

func livelyPlan(keyset string) []v1.PlannedStep {
	for _, k := range livelyView().Keysets {
		if k.Name != keyset || k.NextRotation.IsZero() {
			continue
		}
		at := k.NextRotation
		return []v1.PlannedStep{
			{At: noon.Add(at.Sub(noon) / 2), Step: "withdraw", Generation: 11, Reason: "nothing that it signed is valid any more"},
			{At: at, Step: "activate", Generation: 13, Reason: "the period of generation 12 ends"},
			{At: at.Add(10 * day), Step: "withdraw", Generation: 12, Reason: "nothing that it signed is valid any more"},
			{At: at.Add(20 * day), Step: "generate", Generation: 14, Reason: "generation 13 is to be replaced"},
		}
	}
	return nil
}

// get asks p as a browser would.
func get(t *testing.T, p http.Handler, target string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, target, nil))
	return w
}
