package config

import _ "embed" // for example.yaml

//go:embed example.yaml
var example []byte

// Example returns a configuration that shows every field, with comments.
func Example() string { return string(example) }
