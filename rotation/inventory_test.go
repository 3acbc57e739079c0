package rotation

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"keysetd.example/hsm"
	"keysetd.example/hsm/wire"
	"keysetd.example/internal/keyspec"
)

func TestCompare(t *testing.T) {
	doc := document(gen(1, Retired, lost), gen(2, Active, func(g *Generation) {
		g.Keys = append(g.Keys, Key{Spec: keyspec.P384, Token: "hsm", ID: []byte("e"), KID: "e"})
	}), gen(3, Pending, func(g *Generation) { g.Keys[0].Token = "other" }))
	inv := newInventory("i", []hsm.Object{
		{ID: []byte{1}, Private: true, Label: "whatever"},
		{ID: []byte{2}, Public: true, Label: "keysetd/i/default/2/p-256"},
		{ID: []byte("e"), Private: true, Public: true},
	})
	got, events := doc.compare("hsm", inv, at("1m"))
	var lost []string
	for _, g := range got.Generations {
		for _, k := range g.lost() {
			lost = append(lost, fmt.Sprintf("%d %s %v", g.Number, k.Spec, k.Lost.Sub(t0)))
		}
	}
	if !slices.Equal(lost, []string{"2 p-256 1m0s"}) {
		t.Errorf("lost: %v", lost)
	}
	if len(events) != 2 || events[0].What != "found" || events[0].Generation != 1 || events[1].What != "lost" || events[1].Generation != 2 || events[1].KIDs[0] != "kid-2" {
		t.Errorf("events %+v", events)
	}
	if again, events := got.compare("hsm", inv, at("2m")); len(events) != 0 || !again.Generations[1].Keys[0].Lost.Equal(at("1m")) {
		t.Errorf("the second time: %+v", events)
	}
}

func TestStrays(t *testing.T) {
	doc := abandoned(document(gen(1, Active)), late("abandoned"))
	doc.Intents = []Intent{attempt(2, Generate), attempt(3, Destroy)}
	label := func(installation, keyset string) string {
		return Label{Installation: installation, Keyset: keyset, Generation: 1, Spec: keyspec.P256}.String()
	}
	var objects []hsm.Object
	for _, id := range []string{"\x01", "\x02", "\x03", "abandoned", "stray"} {
		objects = append(objects, hsm.Object{ID: []byte(id), Label: label("i", "default")})
	}
	objects = append(objects, hsm.Object{ID: []byte("a"), Label: label("j", "default")}, hsm.Object{ID: []byte("b"), Label: label("i", "other")},
		hsm.Object{ID: []byte("c"), Label: "keysetd/i/what"}, hsm.Object{ID: []byte("d")})
	inv := newInventory("i", objects)
	if got, ahead := doc.strays(inv); !slices.Equal(got, []string{label("i", "default") + " (CKA_ID 7374726179)"}) || ahead {
		t.Errorf("strays %q, ahead %v", got, ahead)
	}
	if len(inv.nameless) != 1 || string(inv.nameless[0].ID) != "c" {
		t.Errorf("nameless: %+v", inv.nameless)
	}
}

func TestActivateLeavesLostKeysBehind(t *testing.T) {
	doc, events := document(gen(1, Active, lost), gen(2, Pending, lost), gen(3, Pending), gen(4, Pending, lost)).activate(3, testPolicy(), event(eventActivated, 3, nil, at("1h"), "generation 1 has lost a key"))
	var states []State
	for _, g := range doc.Generations {
		states = append(states, g.State)
	}
	if !slices.Equal(states, []State{Retired, Retired, Active, Pending}) || len(events) != 1 || events[0].Why != "generation 1 has lost a key" {
		t.Errorf("%v, %+v", states, events)
	}
}

func TestIsAnswer(t *testing.T) {
	refused := &wire.Error{Code: 0xD1, Reason: wire.Protocol}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, true}, {refused, true}, {fmt.Errorf("%w: %w", hsm.ErrUnsupported, refused), true}, {hsm.ErrTemplate, true}, {hsm.ErrOverloaded, true},
		{fmt.Errorf("%w: %w", hsm.ErrUnavailable, refused), false}, {hsm.ErrClosed, false}, {t.Context().Err(), true}, {errors.New("what"), false},
		{errors.Join(hsm.ErrTemplate, hsm.ErrUnavailable), false},
	} {
		if got := isAnswer(tt.err); got != tt.want {
			t.Errorf("%v: %v", tt.err, got)
		}
	}
}
