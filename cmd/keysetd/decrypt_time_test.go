package main_test

import (
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

// TestDecryptionFailsInTheSameTime: how long it takes tells nobody in which way a message did not open. The
// classes of each algorithm take turns on one connection, in another order each time, and their medians are
// compared. The long form is the judge; the short one, on a machine that does other things, finds an
// answer that is not held back as the others are.
func TestDecryptionFailsInTheSameTime(t *testing.T) {
	t.Parallel()
	tries, apart := 40, 3.0
	s := newSite(t)
	s.configure(`  inbox: {purpose: enc, keys: [rsa-2048, p-256], max_message_age: 1h}`)
	s.edit(`client_ids: ["*"]`, `client_ids: ["*"], rate: 1000000, burst: 1000000`)
	if soak {
		tries, apart = 10_000, 1.05
		s.binary = s.path("keysetd") // the race detector's work would hide differences
		if out, err := exec.Command("go", "build", "-o", s.binary, "keysetd.example/cmd/keysetd").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	s.mustKeysetd("init", "-c", s.path("keysetd.yaml"))
	d := s.serve()
	page := d.jwks("inbox")
	_, messages := broken(t, forAlgorithm(t, page, jose.RSA_OAEP), forAlgorithm(t, page, jose.ECDH_ES))
	classes := map[string][]string{} // of each algorithm
	for _, class := range slices.Sorted(maps.Keys(messages)) {
		alg, _, _ := strings.Cut(class, " ")
		classes[alg] = append(classes[alg], class)
	}
	var algorithms sync.WaitGroup
	for alg, classes := range classes {
		algorithms.Go(func() {
			took, err := d.failures(classes, messages, tries)
			if err != nil {
				t.Errorf("%s: %v", alg, err)
				return
			}
			var medians []time.Duration
			for _, class := range classes {
				slices.Sort(took[class])
				medians = append(medians, took[class][tries/2])
				t.Logf("%-36s median %v", class, medians[len(medians)-1])
			}
			if ratio := float64(slices.Max(medians)) / float64(slices.Min(medians)); ratio > apart {
				t.Errorf("%s: the medians are apart by %.3f, and may be by %.3f", alg, ratio, apart)
			}
		})
	}
	algorithms.Wait()
}

// failures measures each class so many times.
func (d *daemon) failures(classes []string, messages map[string]string, tries int) (map[string][]time.Duration, error) {
	took := map[string][]time.Duration{}
	c := d.client()
	defer c.CloseIdleConnections()
	for range tries {
		for _, i := range rand.Perm(len(classes)) {
			body := strings.NewReader(`{"jwe":"` + messages[classes[i]] + `"}`)
			begun := time.Now()
			resp, err := c.Post("http://localhost/v1/keysets/inbox/decrypt", "application/json", body)
			if err != nil {
				return nil, err
			}
			_, err = io.Copy(io.Discard, resp.Body)
			took[classes[i]] = append(took[classes[i]], time.Since(begun))
			if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusUnprocessableEntity {
				return nil, fmt.Errorf("%s: %s, %w", classes[i], resp.Status, err)
			}
		}
	}
	return took, nil
}
