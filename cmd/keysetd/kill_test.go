package main_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "keysetd.example/api/v1"
)

// The keysets of the test below, and what their policy promises.
const (
	killedKeysets  = 3
	killedSkew     = 200 * time.Millisecond
	killedMaxAge   = time.Second
	killedLead     = 2 * time.Second
	killedRetain   = 2 * time.Second
	killedLifetime = 1800 * time.Millisecond // retain less clock_skew
)

// TestKilledWhileItRotates kills the daemon or its worker at random instants, while keysets
// of a short period always have something under way. Whatever was cut off, what always holds does:
// by the page, by the history, and in the end by the token.
func TestKilledWhileItRotates(t *testing.T) {
	t.Parallel()
	kills := 25
	if soak {
		kills = 200
	}
	seed := uint64(time.Now().UnixNano())
	if s, err := strconv.ParseUint(os.Getenv("KEYSETD_SEED"), 10, 64); err == nil {
		seed = s
	}
	t.Logf("KEYSETD_SEED=%d repeats the choices", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := newSite(t)
	text := ""
	for i := range killedKeysets {
		text += fmt.Sprintf("  %s: {purpose: jwt, any_issuer: true, keys: [p-256, ed25519], rotation: {period: %v, clock_skew: %v}, publish: {max_age: %v}}\n",
			keysetName(i), killedLead, killedSkew, killedMaxAge)
	}
	s.configure(text)
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	w := &killed{t: t, site: s, d: s.serve(), tokens: map[signature]bool{}}
	w.histories = make([]history, killedKeysets)
	for n := range kills {
		if t.Failed() {
			t.Fatalf("after %d kills\n%s", n, w.d.logged())
		}
		w.once(random)
	}
	w.look()
	for i := range w.histories {
		w.histories[i].check(t, keysetName(i))
	}
	w.tokenHoldsTheStore()
	made, abandoned := 0, 0
	for _, h := range w.histories {
		made, abandoned = made+h.count("made"), abandoned+h.count("abandoned")
	}
	t.Logf("%d kills of the daemon, %d of its worker; %d tokens; %d generations were made and %d abandoned", w.daemons, w.workers, w.signed, made, abandoned)
}

func keysetName(i int) string { return fmt.Sprintf("k%d", i) }

// killed is what the test knows of what it kills.
type killed struct {
	t    *testing.T
	site *site
	d    *daemon

	histories                []history
	daemons, workers, signed int
	tokens                   map[signature]bool // that are valid, as far as is known
}

// signature is what verifiers need of a token: a key, until then.
type signature struct {
	keyset, kid string
	exp         int64
}

// once kills something, and looks at what is there afterwards.
func (w *killed) once(random *rand.Rand) {
	w.t.Helper()
	// Some anywhere, and some about when there is most to do.
	wait := time.Duration(random.Int64N(int64(1200 * time.Millisecond)))
	if random.IntN(2) == 0 {
		next := w.d.state(keysetName(random.IntN(killedKeysets))).NextRotation
		if at := time.Until(next); at > 0 && at < killedLead {
			wait = at + wait/8
		}
	}
	theDaemon := random.IntN(2) == 0
	at := time.Now().Add(wait)
	var caller sync.WaitGroup
	caller.Go(func() { w.sign(at.Add(20 * time.Millisecond)) })
	worker := w.d.worker()
	time.Sleep(time.Until(at))
	if theDaemon {
		w.daemons++
		w.d.cmd.Process.Kill()
		<-w.d.exited
	} else {
		w.workers++
		syscall.Kill(worker, syscall.SIGKILL)
	}
	caller.Wait()
	if theDaemon {
		eventually(w.t, 10*time.Second, "the worker ends with the daemon", func() bool { return !alive(worker) })
		w.d = w.site.serve()
	}
	eventually(w.t, 20*time.Second, "the daemon is ready", func() bool {
		return w.d.metric(`keysetd_token_up{token="default"}`) == 1 && w.d.ready() == http.StatusOK
	})
	w.look()
}

// sign asks for tokens until then. Whoever is cut off is told so or not at all, but nothing else.
func (w *killed) sign(until time.Time) {
	for n := 0; time.Now().Before(until); n++ {
		name, exp := keysetName(n%killedKeysets), time.Now().Add(killedLifetime).Unix()
		if exp <= time.Now().Unix() {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		status, reply, err := w.d.tryCall("POST", "/v1/keysets/"+name+"/jwt", fmt.Sprintf(`{"alg":"ES256","claims":{"exp":%d}}`, exp))
		switch {
		case err != nil:
			return
		case status == http.StatusOK:
			w.tokens[signature{name, reply["kid"].(string), exp}] = true
			w.signed++
		case status != http.StatusServiceUnavailable && status != http.StatusGatewayTimeout:
			w.t.Errorf("a token of %s: %d %v", name, status, reply)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// look checks what can be seen from outside.
func (w *killed) look() {
	w.t.Helper()
	for i := range killedKeysets {
		name := keysetName(i)
		w.histories[i].add(w.d.history(name))
		_, kid := w.d.mustToken(name, "ES256", killedLifetime)
		page := kids(w.d.jwks(name))
		now := time.Now().Unix()
		if !slices.Contains(page, kid) {
			w.t.Errorf("keyset %s signs with %s, and its page has %v", name, kid, page)
		}
		for one := range w.tokens {
			switch {
			case one.keyset != name:
			case one.exp <= now:
				delete(w.tokens, one)
			case !slices.Contains(page, one.kid):
				w.t.Errorf("a token of keyset %s by %s is valid until %d, and at %d the page has %v", name, one.kid, one.exp, now, page)
			}
		}
		active := 0
		for _, g := range w.d.state(name).Generations {
			if g.State == "active" {
				active++
			}
		}
		if active != 1 {
			w.t.Errorf("keyset %s has %d active generations", name, active)
		}
	}
}

// history of a keyset, as it is put together from what was read again and again.
type history []v1.Event

func (h *history) add(read []v1.Event) {
	for _, e := range read {
		if !slices.ContainsFunc(*h, func(o v1.Event) bool {
			return o.What == e.What && o.Generation == e.Generation && o.At.Equal(e.At) && slices.Equal(o.KIDs, e.KIDs)
		}) {
			*h = append(*h, e)
		}
	}
}

func (h history) count(what string) (n int) {
	for _, e := range h {
		if e.What == what {
			n++
		}
	}
	return n
}

// check holds a history to what always holds: each number names one attempt; the keys of a
// generation were published for the lead before they signed and for the retain after; and there
// was one generation that signed at a time.
func (h history) check(t *testing.T, name string) {
	t.Helper()
	lives := map[int]map[string]time.Time{}
	born := map[string]int{} // by kid
	var signing []int
	for i, e := range h {
		if i > 0 && e.At.Before(h[i-1].At) {
			t.Errorf("keyset %s: %s of generation %d at %v stands behind what came later", name, e.What, e.Generation, e.At)
		}
		life := lives[e.Generation]
		if life == nil {
			life = map[string]time.Time{}
			lives[e.Generation] = life
		}
		if _, twice := life[e.What]; twice && e.What != "destroyed" && e.What != "removed" {
			t.Errorf("keyset %s: generation %d was %s twice", name, e.Generation, e.What)
		}
		life[e.What] = e.At
		switch e.What {
		case "made":
			for _, kid := range e.KIDs {
				if before, twice := born[kid]; twice {
					t.Errorf("keyset %s: generations %d and %d have key %s", name, before, e.Generation, kid)
				}
				born[kid] = e.Generation
			}
		case "activated":
			if n := len(signing); n > 0 && e.Generation <= signing[n-1] {
				t.Errorf("keyset %s: generation %d signs after %d", name, e.Generation, signing[n-1])
			}
			signing = append(signing, e.Generation)
		case "lost":
			t.Errorf("keyset %s: keys of generation %d are lost", name, e.Generation)
		}
	}
	if len(signing) < 3 {
		t.Errorf("keyset %s: %d activations show nothing", name, len(signing))
	}
	order := []string{"made", "published", "activated", "retired", "withdrawn", "destroyed"}
	for number, life := range lives {
		if _, made := life["made"]; made && !life["abandoned"].IsZero() {
			t.Errorf("keyset %s: generation %d was made and abandoned", name, number)
		}
		for i, later := range order[1:] {
			if at, done := life[later]; done && (life[order[i]].IsZero() || at.Before(life[order[i]])) {
				t.Errorf("keyset %s: generation %d was %s at %v and %s at %v", name, number, order[i], life[order[i]], later, at)
			}
		}
		if at, done := life["activated"]; done && number > 1 && at.Sub(life["published"]) < killedLead {
			t.Errorf("keyset %s: generation %d signed %v after it was published; lead is %v", name, number, at.Sub(life["published"]), killedLead)
		}
		if at, done := life["withdrawn"]; done && at.Sub(life["retired"]) < killedRetain {
			t.Errorf("keyset %s: generation %d left the page %v after it signed; retain is %v", name, number, at.Sub(life["retired"]), killedRetain)
		}
	}
	for i, number := range signing[min(1, len(signing)):] {
		if retired := lives[signing[i]]["retired"]; retired.Before(lives[number]["activated"]) {
			t.Errorf("keyset %s: generation %d is put down as retired at %v, before %d was activated", name, signing[i], retired, number)
		}
	}
	if t.Failed() {
		b, _ := json.Marshal(h)
		t.Logf("keyset %s: %s", name, b)
	}
}

// tokenHoldsTheStore checks that, left alone, there is on the token what the store says, and no more.
func (w *killed) tokenHoldsTheStore() {
	w.t.Helper()
	var want, private, public []string
	ok := false
	for deadline := time.Now().Add(90 * time.Second); !ok && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		want = w.storeSays()
		private, public = w.site.objects("privkey"), w.site.objects("pubkey")
		ok = slices.Equal(want, private) && slices.Equal(want, public) && slices.Equal(want, w.storeSays())
	}
	if !ok {
		w.t.Errorf("the store says that the token holds\n%v\nand it holds the private keys\n%v\nand the public keys\n%v", want, private, public)
	}
}

// storeSays are the CKA_IDs of all keys that live, in hex.
func (w *killed) storeSays() (ids []string) {
	for i := range killedKeysets {
		for _, g := range w.d.state(keysetName(i)).Generations {
			for _, k := range g.Keys {
				ids = append(ids, k.ID)
			}
		}
	}
	slices.Sort(ids)
	return ids
}
