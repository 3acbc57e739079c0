package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/interpreter"
)

// expression is a rule's claims, in the Common Expression Language with its standard library
// and macros. Its variables:
//
//	claims  map of the token's claims; JSON numbers that are whole are int, others double, see number
//	header  map of its protected header
//	caller  map: uid, gid and pid (int) and groups (list of int), see Caller
//	now     int, seconds since 1970
//
// An error denies, so what may be missing is asked for with has(). What an evaluation may cost is
// bounded, see costs, and costs grow with the claims: comprehensions over long lists may go over.
type expression struct{ program cel.Program }

// Bounds of an expression.
const (
	maxExpression = 4096 // characters
	maxRegexp     = 2000 // instructions of its program
	// maxTime for all expressions that look at one request; many times what maxCost takes.
	maxTime = 500 * time.Millisecond
)

var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("header", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("caller", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("now", cel.IntType),
		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ASTValidators(cel.ValidateRegexLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateDurationLiterals(), cel.ValidateHomogeneousAggregateLiterals(), sense{}),
		cel.RegexProgramSizeLimit(maxRegexp),
	)
})

// compile returns the expression that text is. The error tells where it is wrong, as line, where
// there are several, and character, both from 1.
func compile(text string) (*expression, error) {
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("making the environment of CEL: %w", err)
	}
	ast, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		var found []string
		for _, e := range issues.Errors() {
			found = append(found, at(text, e.Location.Line(), e.Location.Column()+1)+firstLine(e.Message))
		}
		return nil, errors.New(strings.Join(found, "; "))
	}
	if !ast.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("the expression is of type %s and must be of type bool; compare it with something, as in claims.admin == true", ast.OutputType())
	}
	c := costs{programs: make(map[string]int)}
	program, err := env.Program(ast, cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(c.patterns()...),
		cel.CostTracking(c), cel.CostLimit(maxCost), cel.InterruptCheckFrequency(16))
	if err != nil {
		return nil, errors.New(firstLine(err.Error()))
	}
	return &expression{program}, nil
}

// at says where in text an error is.
func at(text string, line, character int) string {
	line, character = max(line, 1), max(character, 1)
	if strings.Contains(strings.TrimSpace(text), "\n") {
		return fmt.Sprintf("at line %d, character %d: ", line, character)
	}
	return fmt.Sprintf("at character %d: ", character)
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}

// against tells why the expression does not grant a token, without a word of the token; empty
// if it does.
func (e *expression) against(f *facts) string {
	if f.inexact != nil {
		return f.inexact.Error()
	}
	ctx, cancel := context.WithDeadline(context.Background(), f.until)
	defer cancel()
	return e.eval(ctx, f)
}

func (e *expression) eval(ctx context.Context, f *facts) string {
	result, _, err := e.program.ContextEval(ctx, f.variables)
	var cancelled interpreter.EvalCancelledError
	switch {
	case errors.As(err, &cancelled) || errors.Is(err, interpreter.InterruptError{}):
		return "its claims expression takes too long for claims like these; shorten their lists, or the expression"
	case err != nil:
		return "its claims expression fails for these claims, as it does where it needs a member that is missing or of another type; ask for it with has()"
	case result != types.True:
		return "its claims expression is false for these claims"
	}
	return ""
}
