package policy

import (
	"slices"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
)

// callerFields are what the variable caller has.
var callerFields = []string{"uid", "gid", "pid", "groups"}

// variables are what an expression can name.
var variables = []string{"claims", "header", "caller", "now"}

// sense refuses expressions that cannot be meant: one that looks at nothing, one that asks
// for what a caller does not have, and one whose
// regular expression comes from elsewhere, where whoever writes the claims would write the rule.
type sense struct{}

// Name implements cel.ASTValidator.
func (sense) Name() string { return "keysetd.expression.sense" }

// Validate implements cel.ASTValidator.
func (sense) Validate(_ *cel.Env, _ cel.ValidatorConfig, a *ast.AST, issues *cel.Issues) {
	looks := false
	ast.PostOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		switch e.Kind() {
		case ast.SelectKind:
			s := e.AsSelect()
			if of := s.Operand(); of.Kind() == ast.IdentKind && of.AsIdent() == "caller" && !slices.Contains(callerFields, s.FieldName()) {
				issues.ReportErrorAtID(e.ID(), "caller has no %s; it has %s", s.FieldName(), strings.Join(callerFields, ", "))
			}
		case ast.IdentKind:
			looks = looks || slices.Contains(variables, e.AsIdent())
		case ast.CallKind:
			call := e.AsCall()
			if args := call.Args(); call.FunctionName() == overloads.Matches && len(args) > 0 && args[len(args)-1].Kind() != ast.LiteralKind {
				issues.ReportErrorAtID(args[len(args)-1].ID(), "the pattern of matches must be written out as one string")
			}
		}
	}))
	if !looks {
		issues.ReportErrorAtID(a.Expr().ID(), "the expression is the same for every token; look at claims, header, caller or now, or leave it out")
	}
}
