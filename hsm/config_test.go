package hsm

import (
	"context"
	"strings"
	"testing"

	"keysetd.example/hsm/wire"
)

func TestConfigComplete(t *testing.T) {
	good := func() Config {
		return Config{Name: "t", Open: wire.OpenRequest{Module: "/m.so", Label: "l"},
			PIN: func(context.Context) ([]byte, error) { return []byte("1"), nil }}
	}
	for _, c := range []struct {
		name   string
		change func(*Config)
		err    string
	}{
		{"nothing more is needed", func(*Config) {}, ""},
		{"serial alone", func(c *Config) { c.Open.Label, c.Open.Serial = "", "1" }, ""},
		{"no name", func(c *Config) { c.Name = "" }, "needs a name"},
		{"no module", func(c *Config) { c.Open.Module = "" }, "no PKCS#11 module"},
		{"no token", func(c *Config) { c.Open.Label = "" }, "label"},
		{"no PIN", func(c *Config) { c.PIN = nil }, "PIN"},
		{"sessions", func(c *Config) { c.Sessions = -1 }, "-1 sessions"},
		{"many sessions", func(c *Config) { c.Sessions = 4097 }, "4097 sessions"},
		{"queue", func(c *Config) { c.Queue = -1 }, "queue of -1"},
		{"mode", func(c *Config) { c.Verify = "some" }, `"some"`},
	} {
		cfg := good()
		c.change(&cfg)
		got, err := cfg.complete()
		if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.err)
		}
		if err == nil && (got.Sessions != 8 || got.Queue != 1024 || got.Verify != VerifyRSA || got.Launch == nil ||
			got.Marker == nil || got.Logger == nil || got.Metrics == nil || got.OnChange == nil || len(got.Command) != 2) {
			t.Errorf("%s: a default is missing in %+v", c.name, got)
		}
	}
}
