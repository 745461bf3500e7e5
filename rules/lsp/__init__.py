"""The language server of rule files: what editors show while an operator writes."""
