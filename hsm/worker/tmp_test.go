package worker

import (
	"fmt"
	"testing"

	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

func TestTmp(t *testing.T) {
	for _, mode := range []string{"find", "list", "destroy", "destroy-none", "sign"} {
		p, _ := newToken(t, 2)
		for i := range 60 {
			p.generate(t, fmt.Sprint("d", i), keyspec.P256)
		}
		p.generate(t, "ec", keyspec.P256)
		p.Sign(t.Context(), signRequest())
		stop := make(chan struct{})
		done := make(chan struct{})
		counts := map[string]int{}
		go func() {
			defer close(done)
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				var err error
				switch mode {
				case "find":
					r := signRequest()
					r.Key.ID = []byte("nope")
					_, _, err = p.Sign(t.Context(), r)
				case "list":
					_, _, err = p.List(t.Context(), wire.ListRequest{Prefix: "x"})
				case "destroy":
					if i < 60 {
						_, _, err = p.Destroy(t.Context(), wire.Ref{ID: fmt.Append(nil, "d", i)})
					}
				case "destroy-none":
					_, _, err = p.Destroy(t.Context(), wire.Ref{ID: []byte("nope")})
				case "sign":
					_, _, err = p.Sign(t.Context(), signRequest())
				}
				if err != nil {
					counts["other: "+err.Error()]++
				}
			}
		}()
		for i := range 60 {
			_, _, err := p.Generate(t.Context(), wire.GenerateRequest{ID: fmt.Append(nil, i), Label: "x", Spec: keyspec.P256, Usage: wire.Sign})
			if err != nil {
				e := errorOf(err)
				counts[fmt.Sprintf("gen %s %x", e.Function, e.Code)]++
			}
		}
		close(stop)
		<-done
		fmt.Println(mode)
		for k, v := range counts {
			fmt.Println("   ", v, k)
		}
	}
}
