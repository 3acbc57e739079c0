package audit

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func refusal(uid uint32, reason, jti string) Record {
	return Record{Caller: Caller{UID: uid}, Operation: "jwt", JTI: jti, Outcome: Refused, Reason: reason}
}

// counted is a line as it reads back.
type counted struct {
	Record
	Count   int            `json:"count"`
	Since   time.Time      `json:"since"`
	Reasons map[string]int `json:"reasons"`
}

func countedOf(t *testing.T, data string) (list []counted) {
	t.Helper()
	for line := range strings.Lines(data) {
		var c counted
		if err := json.Unmarshal([]byte(line), &c); err != nil {
			t.Fatal(err)
		}
		list = append(list, c)
	}
	return list
}

func mustRefuse(t *testing.T, l *Log, r Record) {
	t.Helper()
	if err := l.Append(t.Context(), r); err != nil {
		t.Error(err)
	}
}

func TestRefusalsOfOneUIDCollapse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1}
		l := openDisk(t, d, SyncAlways)
		start := time.Now()
		for i := range 250 { // 2.5 seconds
			mustRefuse(t, l, refusal(1, []string{"not_granted", "bad_request"}[i%2], fmt.Sprint(i)))
			if i%100 == 50 {
				mustRefuse(t, l, refusal(2, "not_granted", "other"))
				mustAppend(t, l, "granted")
			}
			time.Sleep(10 * time.Millisecond)
		}
		time.Sleep(5 * time.Second)
		mustRefuse(t, l, refusal(1, "not_granted", "later"))
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		lines, ones := map[uint32][]counted{}, 0
		for _, c := range countedOf(t, d.text()) {
			if lines[c.Caller.UID] = append(lines[c.Caller.UID], c); c.Caller.UID == 1 {
				ones += max(c.Count, 1)
			}
		}
		one := lines[1]
		if len(one) != 5 || ones != 251 || len(lines[2]) != 2 || len(lines[1001]) != 2 {
			t.Fatalf("%d lines for %d refusals, %d, %d\n%s", len(one), ones, len(lines[2]), len(lines[1001]), d.text())
		}
		if one[0].Count != 0 || one[0].JTI != "0" || one[1].JTI != "99" && one[1].JTI != "100" || one[3].JTI != "249" || one[4].Count != 0 {
			t.Error(d.text())
		}
		if r := one[1].Reasons; r["not_granted"]+r["bad_request"] != one[1].Count || r["bad_request"] < 49 || !one[1].Since.Equal(start.Add(10*time.Millisecond)) {
			t.Errorf("%+v", one[1])
		}
	})
}

func TestCountedRefusalsAreNotLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1}
		l := openDisk(t, d, SyncAlways)
		for i := range 100 {
			mustRefuse(t, l, refusal(1, fmt.Sprint("reason", i), strings.Repeat("x", 10_000)))
		}
		d.set(func() { d.room = 0 })
		time.Sleep(5500 * time.Millisecond) // nothing can be written
		mustRefuse(t, l, refusal(1, "not_granted", "full"))
		d.set(func() { d.room = -1 })
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		lines := countedOf(t, d.text())
		if len(lines) != 2 || lines[1].Count != 100 || len(lines[1].Reasons) > maxReasons+2 || lines[1].Reasons["other"] == 0 || lines[1].JTI != "full" {
			t.Errorf("%d lines\n%s", len(lines), d.text())
		}
		time.Sleep(2 * time.Second) // the timers end
	})
}

func TestUIDsThatAreCountedAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &disk{room: -1}
		l := openDisk(t, d, SyncAlways)
		for range 2 {
			for uid := range uint32(maxUIDs + 10) {
				mustRefuse(t, l, refusal(uid, "not_granted", ""))
			}
		}
		l.mu.Lock()
		uids := len(l.refused)
		l.mu.Unlock()
		if uids != maxUIDs {
			t.Errorf("%d uids are counted", uids)
		}
		time.Sleep(1100 * time.Millisecond)
		if n := len(countedOf(t, d.text())); n != 2*(maxUIDs+10) {
			t.Errorf("%d lines", n)
		}
		time.Sleep(1100 * time.Millisecond)
		if err := l.Close(); err != nil || len(l.refused) != 0 {
			t.Error(err, len(l.refused))
		}
	})
}
