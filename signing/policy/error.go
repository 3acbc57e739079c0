package policy

// RuleError is what New finds wrong with a rule.
type RuleError struct {
	Rule string // its name
	// Field of the configuration that is wrong, as claims; empty where it is no single one.
	Field  string
	Detail string // what is wrong with it, and what would be right
}

// Error implements error.
func (e *RuleError) Error() string {
	if e.Field == "" {
		return "caller " + e.Rule + ": " + e.Detail
	}
	return "caller " + e.Rule + ": " + e.Field + ": " + e.Detail
}
