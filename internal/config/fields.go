package config

import (
	"reflect"
	"strings"
)

// fields returns the names of a struct's fields in the file.
func fields(t reflect.Type) []string {
	var names []string
	for i := range t.NumField() {
		if n, _, _ := strings.Cut(t.Field(i).Tag.Get("yaml"), ","); n != "-" {
			names = append(names, n)
		}
	}
	return names
}

// field returns the field with that name in the file, and whether "*" stands for all in it.
func field(v reflect.Value, name string) (f reflect.Value, all, ok bool) {
	for i := range v.NumField() {
		n, option, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
		if n == name && n != "-" {
			return v.Field(i), option == "all", true
		}
	}
	return reflect.Value{}, false, false
}
