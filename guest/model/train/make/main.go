// Command make trains the project's model and writes its file, and beside it the
// prompts with which package weights tests it:
//
//	go run ./guest/model/train/make guest/model/weights
//
// It takes three to four minutes of one core. On amd64 it gives
// the files that are there, byte for byte.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/guest/model"
	"github.com/nitrolab/nitrolab/guest/model/train"
	"github.com/nitrolab/nitrolab/guest/model/weights"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: make DIR")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "make:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	start := time.Now()
	var smooth float64
	cfg := train.Project()
	cfg.Progress = func(step int, loss float64) {
		if smooth == 0 {
			smooth = loss
		}
		smooth += (loss - smooth) / 20
		if step%25 == 0 {
			fmt.Printf("%6.1f s  step %4d  loss %.4f\n", time.Since(start).Seconds(), step, smooth)
		}
	}
	p, err := train.Run(ctx, cfg)
	if err != nil {
		return err
	}
	m, err := model.New(p)
	if err != nil {
		return err
	}
	examples, right, err := answers(ctx, m, train.Facts())
	if err != nil {
		return err
	}
	fmt.Printf("%d of %d lines known by heart\n", right, len(examples))
	if err := os.WriteFile(filepath.Join(dir, weights.File), model.Encode(p), 0o644); err != nil {
		return err
	}
	text, err := json.MarshalIndent(examples, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, weights.ExamplesFile), append(text, '\n'), 0o644)
}

// answers has the model answer the question of every line, and counts the answers
// that are those of the line.
func answers(ctx context.Context, m *model.Model, lines []string) (examples []weights.Example, right int, err error) {
	for _, line := range lines {
		question, answer, _ := strings.Cut(line, "?")
		e := weights.Example{Prompt: question + "?"}
		if e.Completion, err = m.Complete(ctx, e.Prompt, m.Shape().Context); err != nil {
			return nil, 0, err
		}
		if e.Completion == answer {
			right++
		}
		examples = append(examples, e)
	}
	return examples, right, nil
}
