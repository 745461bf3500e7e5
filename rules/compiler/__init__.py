"""From YAML to arrays: reader, grammar, types, checks, program, kernel."""
