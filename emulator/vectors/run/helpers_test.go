package run_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nitrolab/nitrolab/emulator/vectors"
	"github.com/nitrolab/nitrolab/emulator/vectors/run"
	"github.com/nitrolab/nitrolab/emulator/vectors/run/protocol"
)

// The test binary is the verifier too: a child that finds obeyEnv does what the
// document says.
const obeyEnv = "VECTORS_TEST_OBEY"

func TestMain(m *testing.M) {
	switch os.Getenv(obeyEnv) {
	case "case":
		document, err := io.ReadAll(os.Stdin)
		if err != nil {
			panic(err)
		}
		obey(string(document))
	case "jsonl":
		obeyLines()
		os.Exit(0)
	case "own":
		if err := protocol.Serve(os.Stdin, os.Stdout, protocol.Verify); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// obey ends the process as the order says, or gives a verdict.
func obey(order string) {
	word, rest, _ := strings.Cut(order, " ")
	switch word {
	case "accept":
		os.Exit(0)
	case "reject":
		fmt.Fprintln(os.Stderr, "first line\nbecause", rest)
		os.Exit(1)
	case "exit":
		n, _ := strconv.Atoi(rest)
		os.Exit(n)
	case "panic":
		panic("at the disco")
	case "signal":
		n, _ := strconv.Atoi(rest)
		signal.Reset()
		_ = syscall.Kill(os.Getpid(), syscall.Signal(n))
		hang()
	case "flood":
		line := bytes.Repeat([]byte("x"), 1<<16)
		for i := range 256 {
			_, _ = os.Stdout.Write(line)
			fmt.Fprintf(os.Stderr, "%s %d\n", line, i)
		}
		os.Exit(1)
	case "hang":
		fmt.Fprintln(os.Stderr, "going to sleep")
		if rest != "" { // with a child that has left the process group
			c := exec.Command("sleep", "1000")
			c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
			if err := c.Start(); err != nil {
				panic(err)
			}
			_ = os.WriteFile(rest, []byte(strconv.Itoa(c.Process.Pid)), 0o600)
		}
		for {
			time.Sleep(time.Hour)
		}
	case "told":
		var told []string
		for _, v := range os.Environ() {
			if strings.HasPrefix(v, "NITROLAB_") && !strings.HasPrefix(v, "NITROLAB_GUARD") {
				told = append(told, v)
			}
		}
		b, _ := json.Marshal(map[string]any{"env": told, "args": os.Args[1:]})
		_ = os.WriteFile(rest, b, 0o600)
		os.Exit(0)
	}
}

// obeyLines is the same with protocol JSONL.
func obeyLines() {
	err := protocol.Serve(os.Stdin, os.Stdout, func(q protocol.Request) error {
		order := string(q.Document)
		word, rest, _ := strings.Cut(order, " ")
		switch word {
		case "accept":
			return nil
		case "reject":
			return fmt.Errorf("because %s", rest)
		case "say": // instead of the reply, with # for the id
			fmt.Println(strings.ReplaceAll(rest, "#", strconv.Itoa(q.ID)))
			hang()
		case "long":
			_, _ = os.Stdout.Write(bytes.Repeat([]byte("x"), 1<<20))
			hang()
		case "part":
			fmt.Print(`{"id":`)
			os.Exit(0)
		case "twice":
			fmt.Printf("{\"id\":%d,\"verdict\":\"accept\"}\n", q.ID)
			return nil
		case "mute":
			_ = os.Stdout.Close()
			hang()
		case "told":
			b, _ := json.Marshal(q)
			_ = os.WriteFile(rest, b, 0o600)
			return nil
		case "log":
			for range 1000 {
				fmt.Fprintln(os.Stderr, strings.Repeat("log ", 100))
			}
			return nil
		}
		obey(order)
		return nil
	})
	if err != nil {
		panic(err)
	}
}

// order is a case whose document is an order to the verifier.
type order struct {
	document string
	verdict  vectors.Verdict
	edit     func(*vectors.Case)
}

const testRoot = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"

// corpusOf makes a corpus of orders, with ids A1-0, A1-1 and so on.
func corpusOf(orders ...order) *vectors.Corpus {
	c := &vectors.Corpus{Documents: map[string][]byte{}, Roots: map[string][]byte{"roots/a.pem": []byte(testRoot), "roots/b.pem": []byte(testRoot)}}
	for i, o := range orders {
		of := vectors.Case{
			ID: fmt.Sprintf("A1-%d", i), Group: "A1", Title: "order " + o.document, Level: vectors.Must, Source: "here",
			Document: fmt.Sprintf("documents/A1-%d.cbor", i), Verdict: o.verdict, Time: vectors.Reference, Roots: []string{"roots/a.pem"},
		}
		if o.edit != nil {
			o.edit(&of)
		}
		c.Cases = append(c.Cases, of)
		c.Documents[of.Document] = []byte(o.document)
	}
	return c
}

// configOf runs the test binary over the orders.
func configOf(t testing.TB, p run.Protocol, orders ...order) run.Config {
	t.Helper()
	mode := "case"
	if p == run.JSONL {
		mode = "jsonl"
	}
	t.Setenv(obeyEnv, mode)
	return run.Config{
		Source: run.Fixed(corpusOf(orders...)), Command: []string{os.Args[0]}, Protocol: p,
		StateDir: t.TempDir(), Jobs: 2, Timeout: 30 * time.Second,
	}
}

// must runs and fails the test on an error.
func must(t testing.TB, cfg run.Config) *run.Report {
	t.Helper()
	r, err := run.Run(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// outcomes are what became of the cases, in their order.
func outcomes(r *run.Report) []run.Outcome {
	var list []run.Outcome
	for _, result := range r.Results {
		list = append(list, result.Outcome)
	}
	return list
}

// hang does nothing for longer than any test. An empty select would be found out as a
// deadlock by the runtime.
func hang() {
	for {
		time.Sleep(time.Hour)
	}
}
