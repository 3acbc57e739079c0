package policy

import (
	"regexp"
	"strings"

	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// Bounds of what an evaluation costs. A unit is the look at one value, ten bytes of text, or ten
// steps of a regular expression: some 100 ns at most.
const (
	maxCost   = 20_000
	zoneCost  = 200 // of a time zone by its name, which is read from a file
	unitBytes = 10
	unitSteps = 10
)

// costs tells what a call of a function costs, by the size of what it is called with. The library's
// own model takes the comparison of nested lists, conversions of text, and much of a regular
// expression's work for a unit.
type costs struct {
	programs map[string]int // the instructions of each regular expression, by its text
}

// CallCost implements cost.ActualCostEstimator.
func (c costs) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	total := uint64(1)
	switch {
	case (function == operators.Equals || function == operators.NotEquals) && len(args) == 2:
		total += equalCost(args[0], args[1])
	case function == operators.In && len(args) == 2:
		if l, ok := args[1].(traits.Lister); ok {
			total += deep(l, maxCost)
		}
	case function == overloads.Matches && len(args) == 2:
		if types.IsError(result) { // it was not begun
			break
		}
		size, known := c.programs[text(args[1])]
		if !known {
			size = maxCost
		}
		total += matchCost(text(args[0]), size)
	case strings.HasPrefix(function, "get") && len(args) == 2: // getHours and its like, in a zone
		total += zoneCost
	default:
		for _, a := range args {
			total += length(a) / unitBytes
		}
		total += length(result) / unitBytes
	}
	return &total
}

func matchCost(s string, instructions int) uint64 {
	return uint64(len(s)) * uint64(instructions) / unitSteps
}

func text(v ref.Val) string {
	s, _ := v.(types.String)
	return string(s)
}

// length is that of text in bytes, of a list or a map in members.
func length(v ref.Val) uint64 {
	switch v := v.(type) {
	case types.String:
		return uint64(len(v))
	case types.Bytes:
		return uint64(len(v))
	case traits.Sizer:
		if n, ok := v.Size().(types.Int); ok {
			return uint64(n)
		}
	}
	return 0
}

// equalCost is what comparing costs: what differs in length is not looked into.
func equalCost(a, b ref.Val) uint64 {
	if length(a) != length(b) {
		return 0
	}
	return max(deep(a, maxCost), deep(b, maxCost))
}

// deep counts the values in v and the units of their text, up to about most.
func deep(v ref.Val, most uint64) uint64 {
	n := uint64(1)
	switch v := v.(type) {
	case traits.Mapper:
		for it := v.Iterator(); n < most && it.HasNext() == types.True; {
			key := it.Next()
			n += deep(key, most-n) + deep(v.Get(key), most-n)
		}
	case traits.Lister:
		for it := v.Iterator(); n < most && it.HasNext() == types.True; {
			n += deep(it.Next(), most-n)
		}
	default:
		n += length(v) / unitBytes
	}
	return n
}

// patterns are what compiles the regular expressions of a program and notes their sizes in c.
// One that would take too long over a text is not begun, for nothing could end it.
func (c costs) patterns() []*interpreter.RegexOptimization {
	var made []*interpreter.RegexOptimization
	for _, overload := range []string{overloads.Matches, overloads.MatchesString} {
		made = append(made, &interpreter.RegexOptimization{
			Function: overloads.Matches, OverloadID: overload, RegexIndex: 1, Factory: c.pattern,
		})
	}
	return made
}

func (c costs) pattern(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
	compiled, err := regexp.Compile(pattern)
	if err != nil {
		return nil, err
	}
	size, err := types.RegexProgramSize(pattern)
	if err != nil {
		return nil, err
	}
	c.programs[pattern] = size
	match := func(values ...ref.Val) ref.Val {
		s, ok := values[0].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(values[0])
		}
		if matchCost(string(s), size) > maxCost {
			return types.WrapErr(interpreter.EvalCancelledError{Cause: interpreter.CostLimitExceeded, Message: "a text is too long for a regular expression"})
		}
		return types.Bool(compiled.MatchString(string(s)))
	}
	return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), match), nil
}
