// Command bench measures keysetd beside a plain C loop over the same SoftHSM token:
// signatures a second, the share of the C loop's, latency, and CPU for each signature
// in client, daemon and worker apart. Client, daemon and token share this machine's
// cores, as they would where keysetd runs beside its callers.
//
// Everything is measured in turns, several rounds of each, and medians are printed:
// the machine's mood then hits all alike.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"
)

var (
	keysetd  = flag.String("keysetd", "bin/keysetd", "the daemon's binary")
	cloop    = flag.String("cloop", "bin/cloop", "the C loop's binary")
	duration = flag.Duration("duration", 2*time.Second, "how long each measurement takes")
	rounds   = flag.Int("rounds", 3, "how many times each is measured; the median counts")
	asJSON   = flag.Bool("json", false, "print JSON instead of the table")
)

func main() {
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}

// result is one measurement, or the medians of several.
type result struct {
	Algorithm string  `json:"algorithm"`
	What      string  `json:"what"`
	PerSecond float64 `json:"per_second"`
	Share     float64 `json:"share_of_c_loop"` // of the best C loop for this algorithm
	P50       float64 `json:"p50_us,omitempty"`
	P99       float64 `json:"p99_us,omitempty"`
	// CPU microseconds for each signature. The C loop has only a client.
	CPUClient float64 `json:"cpu_client_us"`
	CPUDaemon float64 `json:"cpu_daemon_us,omitempty"`
	CPUWorker float64 `json:"cpu_worker_us,omitempty"`
}

// contender measures one way to get signatures for one algorithm.
type contender struct {
	algorithm, what string
	measure         func(ctx context.Context) (result, error)
}

func run(ctx context.Context) error {
	d, err := startDaemon(ctx)
	if err != nil {
		return err
	}
	defer d.stop()
	var contenders []contender
	for _, alg := range []string{"ES256", "RS256"} {
		for _, threads := range []int{1, 2} {
			contenders = append(contenders, contender{alg, fmt.Sprintf("C loop, %d thread(s)", threads), func(ctx context.Context) (result, error) {
				return d.runCLoop(ctx, alg, threads)
			}})
		}
		for _, callers := range []int{1, 16} {
			contenders = append(contenders, contender{alg, fmt.Sprintf("keysetd HTTP, %d caller(s)", callers), func(ctx context.Context) (result, error) {
				return d.runCallers(ctx, alg, callers)
			}})
		}
	}
	measured := make([][]result, len(contenders))
	for range *rounds {
		for i, c := range contenders {
			r, err := c.measure(ctx)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", c.algorithm, c.what, err)
			}
			measured[i] = append(measured[i], r)
		}
	}
	results := make([]result, len(contenders))
	best := map[string]float64{}
	for i, c := range contenders {
		results[i] = medians(measured[i])
		results[i].Algorithm, results[i].What = c.algorithm, c.what
		if results[i].CPUWorker == 0 { // a C loop
			best[c.algorithm] = max(best[c.algorithm], results[i].PerSecond)
		}
	}
	for i := range results {
		results[i].Share = results[i].PerSecond / best[results[i].Algorithm]
	}
	return print(results)
}

func medians(rs []result) result {
	median := func(field func(result) float64) float64 {
		v := make([]float64, len(rs))
		for i, r := range rs {
			v[i] = field(r)
		}
		slices.Sort(v)
		return v[len(v)/2]
	}
	return result{
		PerSecond: median(func(r result) float64 { return r.PerSecond }),
		P50:       median(func(r result) float64 { return r.P50 }),
		P99:       median(func(r result) float64 { return r.P99 }),
		CPUClient: median(func(r result) float64 { return r.CPUClient }),
		CPUDaemon: median(func(r result) float64 { return r.CPUDaemon }),
		CPUWorker: median(func(r result) float64 { return r.CPUWorker }),
	}
}

func print(results []result) error {
	if *asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(results)
	}
	fmt.Printf("%-6s %-26s %9s %6s %8s %8s   CPU µs a signature\n", "", "", "a second", "share", "p50 µs", "p99 µs")
	fmt.Printf("%-6s %-26s %9s %6s %8s %8s %8s %8s %8s\n", "", "", "", "", "", "", "client", "daemon", "worker")
	for _, r := range results {
		fmt.Printf("%-6s %-26s %9.0f %6.2f %8.0f %8.0f %8.1f %8.1f %8.1f\n",
			r.Algorithm, r.What, r.PerSecond, r.Share, r.P50, r.P99, r.CPUClient, r.CPUDaemon, r.CPUWorker)
	}
	return nil
}
