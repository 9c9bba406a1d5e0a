// Package weights has the weights of the project's model, the secret of the
// confidential inference sample, and what that model answers. They were trained
// by this project on this project's own text (guest/model/train), and belong to
// it.
//
// No program that runs in an enclave imports it: there the weights come sealed.
package weights

import (
	_ "embed"
	"encoding/json"
	"fmt"
)

//go:generate go run ../train/make .

// Names of the files in this folder.
const (
	File         = "answers.model"
	ExamplesFile = "examples.json"
)

//go:embed answers.model
var file string

//go:embed examples.json
var examples string

// Model is the file of the model, for model.Load or for sealing. It is the
// caller's own copy.
func Model() []byte { return []byte(file) }

// An Example is a prompt and what the model makes of it.
type Example struct {
	Prompt     string `json:"prompt"`
	Completion string `json:"completion"`
}

// Examples are all questions that the model was trained on with its answers, in
// the order of guest/model/train/facts.txt.
func Examples() []Example {
	var all []Example
	if err := json.Unmarshal([]byte(examples), &all); err != nil {
		panic(fmt.Sprintf("weights: %s: %v", ExamplesFile, err)) // embedded, and tested
	}
	return all
}
