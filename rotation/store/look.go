package store

import (
	"go.etcd.io/bbolt"
)

// Outline is what Look finds in a store.
type Outline struct {
	Installation string
	// Serials are the serial numbers of tokens, by their names in the configuration.
	Serials map[string]string
	// Old: it is of an older version, and the next Open migrates it.
	Old bool
}

// Look reads what a store says of itself and of the tokens, and changes nothing: one that an older
// version left stays as it is. Its errors are those of Open.
func Look(path string) (Outline, error) {
	o, err := look(path)
	if err != nil {
		return Outline{}, openError(path, err)
	}
	return o, nil
}

func look(path string) (o Outline, err error) {
	defer survive(&err)()
	db, _, err := openFile(path, true)
	if err != nil {
		return Outline{}, err
	}
	defer db.Close() // nothing was written
	o.Serials = map[string]string{}
	err = db.View(func(tx *bbolt.Tx) error {
		o.Old = isOld(tx)
		want, buckets := format, [][]byte{tokensBucket, keysetsBucket, historyBucket, watermarksBucket}
		if o.Old {
			want, buckets = oldFormat, buckets[:3] // it had no watermarks
		}
		var s Bolt
		if err := s.check(tx, want, buckets...); err != nil {
			return err
		}
		o.Installation = s.installation
		return tx.Bucket(tokensBucket).ForEach(func(name, serial []byte) error {
			o.Serials[string(name)] = string(serial)
			return nil
		})
	})
	return o, err
}
