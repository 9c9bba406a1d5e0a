package run

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nitrolab/nitrolab/emulator/guard"
	"github.com/nitrolab/nitrolab/emulator/vectors"
)

// Run asks the verifier about every case. What the verifier does is in the
// Report; an error says that the run could not be made, or was interrupted by
// ctx, or the error is *DeadError. Nothing of the verifier is left running.
func Run(ctx context.Context, cfg Config) (_ *Report, err error) {
	cfg, err = cfg.check()
	if err != nil {
		return nil, err
	}
	dir, err := guard.TempDir(cfg.StateDir, "vectors")
	if err != nil {
		return nil, fmt.Errorf("run vectors: %w", err)
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	cases := cfg.Source.Cases()
	r := &runner{
		Config: cfg,
		ctx:    ctx,
		files:  files{dir.Path()},
		todo:   make(chan int),
		report: &Report{Command: cfg.Command, Protocol: cfg.Protocol, Results: make([]Result, len(cases))},
	}
	begin := time.Now()
	if err := r.all(cases); err != nil {
		return nil, fmt.Errorf("run vectors: %w", err)
	}
	r.report.Took = time.Since(begin)
	return r.report, nil
}

// A runner is one call of Run.
type runner struct {
	Config
	ctx    context.Context
	files  files
	todo   chan int
	deaths deaths

	mu     sync.Mutex // serialises Progress
	report *Report    // each worker writes the results of its cases
}

// An asker is one verifier at a time: it answers about one case after another.
type asker interface {
	// ask gives an error only if no case can be asked about.
	ask(ctx context.Context, corpus *vectors.Corpus, c vectors.Case) (Outcome, string, error)
	close()
}

func (r *runner) asker(worker int) asker {
	if r.Protocol == JSONL {
		return &session{runner: r}
	}
	return &starter{runner: r, worker: worker}
}

// all hands out the cases to as many workers as there are jobs.
func (r *runner) all(cases []vectors.Case) error {
	ctx, cancel := context.WithCancelCause(r.ctx)
	defer cancel(nil)
	var workers sync.WaitGroup
	for i := range min(r.Jobs, len(cases)) {
		workers.Go(func() {
			a := r.asker(i)
			defer a.close()
			for index := range r.todo {
				if err := r.one(ctx, a, index, cases[index]); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	for index := range cases {
		select {
		case r.todo <- index:
		case <-ctx.Done():
		}
	}
	close(r.todo)
	workers.Wait()
	return context.Cause(ctx)
}

// one asks about one case.
func (r *runner) one(ctx context.Context, a asker, index int, c vectors.Case) error {
	result := Result{Case: c, Outcome: Skipped, Detail: r.Select.skips(c)}
	if result.Detail == "" {
		var skip *SkipError
		corpus, fresh, err := r.Source.Fresh(index)
		switch {
		case errors.As(err, &skip):
			result.Detail = skip.Reason
		case err != nil:
			return fmt.Errorf("case %s: %w", c.ID, err)
		default:
			begin := time.Now()
			result.Outcome, result.Detail, err = a.ask(ctx, corpus, fresh)
			if err != nil {
				return err
			}
			result.Case, result.Took = fresh, time.Since(begin)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Results[index] = result
	if r.Progress != nil {
		r.Progress(result)
	}
	return ctx.Err()
}
