package main

import (
	"os"
	"strings"
)

// variable is the name of the environment's variable for a key.
func variable(key string) string { return "CULPRIT_" + strings.ToUpper(key) }

// lookupEnv returns what the environment says of a key; an empty value is none.
func lookupEnv(key string) (string, bool) {
	value := os.Getenv(variable(key))
	return value, value != ""
}
