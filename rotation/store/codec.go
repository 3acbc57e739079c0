package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"keysetd.example/rotation"
)

// encodeDocument refuses to write what could not be read again.
func encodeDocument(doc rotation.Document) ([]byte, error) {
	if err := doc.Validate(); err != nil {
		return nil, fmt.Errorf("the document is wrong and was not written: %w", err)
	}
	return json.Marshal(doc)
}

// decodeDocument reads the document that is kept under name. Unknown members are refused:
// writing the document back would lose them.
func decodeDocument(name string, b []byte) (rotation.Document, error) {
	doc, err := decodeFormat(name, b, rotation.Format)
	if err == nil {
		err = doc.Validate()
	}
	if err != nil {
		return rotation.Document{}, err
	}
	return doc, nil
}

// decodeFormat reads a document that is of this format, without looking at what it says.
func decodeFormat(name string, b []byte, format int) (rotation.Document, error) {
	// The format first: another one explains everything else.
	var head struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return rotation.Document{}, err
	}
	switch {
	case head.Format > rotation.Format:
		return rotation.Document{}, rotation.Document{Format: head.Format}.Validate() // which names both
	case head.Format != format:
		return rotation.Document{}, fmt.Errorf("it has format %d and the store has %d", head.Format, format)
	}
	var doc rotation.Document
	if err := strict(b, &doc); err != nil {
		return rotation.Document{}, err
	}
	if doc.Keyset != name {
		return rotation.Document{}, fmt.Errorf("it is the document of keyset %q", doc.Keyset)
	}
	return doc, nil
}

func decodeEvent(b []byte) (e rotation.Event, err error) {
	return e, strict(b, &e)
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return fmt.Errorf("something follows the JSON value")
	}
	return nil
}
