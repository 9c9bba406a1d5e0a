package main

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/ask"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/devices/vsock/ports"
	"github.com/nitrolab/nitrolab/emulator"
	"github.com/nitrolab/nitrolab/emulator/qemu"
	modelweights "github.com/nitrolab/nitrolab/guest/model/weights"
	"github.com/nitrolab/nitrolab/images/eif"
	"github.com/nitrolab/nitrolab/images/toolchain"
)

// Size of the sample enclave. Its image has 16 MB, so the least is 64 MiB; with
// less than 192 the kernel's own needs make it slow to start.
const (
	sampleMemoryMiB = 256
	sampleCPUs      = 2
)

// answerTimeout bounds the exchange with the sample, before scaling. It takes
// 50 ms.
const answerTimeout = 15 * time.Second

func newDemo() *cobra.Command {
	var tools toolFlags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Boot an enclave and verify its document, then run a model in one (make run)",
		Long: `demo, or make run, builds the sample enclave image, boots it, asks it for an
attestation document over a fresh nonce, and verifies the document against the
PCRs computed from the image.

Its second act is confidential inference. The owner of a model encrypts its weights
under a key that the key service gives to one signed image only. A parent instance
gets the ciphertext, and may not decrypt it; nitro-cli starts the enclave there,
which attests, gets the key through vsock-proxy and runs the model. A client asks it
over a channel that ends in the enclave.

Nothing is left behind but the tool chain and a snapshot of the instance in the
cache. The exit code is 0 if the document was accepted and the model answered.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d := demo{p: newPrinter(cmd.OutOrStdout()), quiet: asJSON}
			result, err := d.run(cmd.Context(), tools)
			if err != nil {
				return err
			}
			if asJSON {
				if err := printJSON(cmd.OutOrStdout(), d.summary(result)); err != nil {
					return err
				}
			}
			if result.Err() != nil {
				return &exitError{code: codeFailed}
			}
			return nil
		},
	}
	tools.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object instead of the timeline")
	return cmd
}

// demo is one run of the main job.
type demo struct {
	p     *printer
	quiet bool

	accel   qemu.Accel
	tools   *toolchain.Toolchain
	enclave emulator.EnclaveInfo
	beat    time.Duration // from the start to the heartbeat
	total   time.Duration // from the start to the verdict
	second  *confidential
}

// say prints unless the output is JSON.
func (d *demo) say(print func(p *printer)) {
	if !d.quiet {
		print(d.p)
	}
}

func (d *demo) run(ctx context.Context, flags toolFlags) (_ *attestation.Result, err error) {
	if d.tools, d.accel, err = flags.find(ctx, toolchain.AllParts); err != nil {
		return nil, err
	}
	d.say(func(p *printer) {
		p.line("nitrolab %s · %s", version, d.accel)
		p.line("tool chain   QEMU %s, Linux %s", d.tools.QEMU.Version, d.tools.Kernel.Release)
	})
	host, err := newLocalHost(d.tools, d.accel, demoRole)
	if err != nil {
		return nil, err
	}
	defer host.closeInto(&err)

	image := filepath.Join(host.Dir(), "sample.eif")
	measured, err := d.build(ctx, image)
	if err != nil {
		return nil, err
	}
	document, nonce, err := d.attest(ctx, host, image)
	if err != nil {
		return nil, err
	}
	result, err := attestation.Verify(document, attestation.Options{
		Roots: []*x509.Certificate{host.Root()},
		PCRs: map[uint][]byte{
			0: measured.PCR0[:], 1: measured.PCR1[:], 2: measured.PCR2[:],
			nsm.PCRInstance: instancePCR(host.InstanceID()),
		},
		Nonce: nonce,
		Time:  host.Now(),
	})
	if result == nil {
		return nil, err
	}
	d.total = time.Since(d.p.start)
	d.say(func(p *printer) { p.verdict(result) })
	if result.Err() != nil {
		return result, nil
	}
	d.second = &confidential{demo: d, host: host, tools: d.tools}
	if err := d.second.run(ctx); err != nil {
		return nil, err
	}
	d.say(func(p *printer) { p.closing(d.accel.TCG()) })
	return result, nil
}

// build writes the sample image.
func (d *demo) build(ctx context.Context, path string) (eif.Measurements, error) {
	r, err := buildSample(ctx, d.tools, false, path)
	if err != nil {
		return eif.Measurements{}, err
	}
	m := r.Measurements
	d.say(func(p *printer) {
		p.line("sample.eif   kernel %s, ramdisks %s", megabytes(r.KernelSize), megabytes(r.RamdiskSizes[0]+r.RamdiskSizes[1]))
		p.line("             PCR0 %s  PCR1 %s  PCR2 %s", shortHex(m.PCR0[:]), shortHex(m.PCR1[:]), shortHex(m.PCR2[:]))
	})
	return m, nil
}

// attest runs the enclave and gets its document over a fresh nonce.
func (d *demo) attest(ctx context.Context, host *localHost, image string) (document, nonce []byte, err error) {
	d.p.begin()
	e, err := host.StartEnclave(ctx, emulator.EnclaveConfig{EIFPath: image, MemoryMiB: sampleMemoryMiB, CPUs: sampleCPUs})
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, e.Close()) }()
	d.enclave = e.Info()
	d.say(func(p *printer) {
		p.at("enclave %s  CID %d  %d MiB  %d CPUs", e.ID(), e.CID(), sampleMemoryMiB, sampleCPUs)
	})
	if err := e.WaitRunning(ctx); err != nil {
		return nil, nil, err
	}
	d.beat = time.Since(d.p.start)
	d.say(func(p *printer) { p.at("heartbeat") })

	nonce = make([]byte, 32)
	_, _ = rand.Read(nonce) // never fails
	ctx, cancel := context.WithTimeout(ctx, d.accel.Timeout(answerTimeout))
	defer cancel()
	conn, err := e.DialReady(ctx, ports.Attest)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to the sample: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, nil, err
		}
	}
	if document, err = ask.Ask(conn, nonce); err != nil {
		return nil, nil, fmt.Errorf("ask the sample: %w", err)
	}
	d.say(func(p *printer) { p.at("nonce %s sent, document of %d bytes received", shortHex(nonce), len(document)) })
	return document, nonce, nil
}

// verdict is the last part of the timeline.
func (p *printer) verdict(r *attestation.Result) {
	for i, c := range r.Checks {
		if c.Status == attestation.Skipped {
			continue
		}
		line := fmt.Sprintf("%-11s %s %s", c.Name, p.status(c.Status), c.Detail)
		if i == 0 {
			p.at("%s", line)
		} else {
			p.more("%s", line)
		}
	}
	var names []string
	for _, c := range r.Chain {
		names = append([]string{c.Subject.CommonName}, names...)
	}
	p.more("%-11s %s", "issued by", strings.Join(names, "\n"+strings.Repeat(" ", 23)+"-> "))
	if r.Err() != nil {
		p.line("%s", p.bad("refused."))
		return
	}
	p.line("%s", p.good("verified."))
}

// closing is the last line.
func (p *printer) closing(tcg bool) {
	without := "No AWS, no root."
	if tcg {
		without = "No AWS, no KVM, no root."
	}
	p.line("%s %s Next: make shell, nitrolab run-enclave --help", p.good("kept confidential."), without)
}

// demoSummary is the timeline as JSON.
type demoSummary struct {
	Accel            string  `json:"accel"`
	QEMU             string  `json:"qemu"`
	Kernel           string  `json:"kernel"`
	EnclaveID        string  `json:"enclave_id"`
	HeartbeatSeconds float64 `json:"heartbeat_seconds"`
	TotalSeconds     float64 `json:"total_seconds"`
	Verdict          verdict `json:"verdict"`

	// Confidential is absent if the document was refused.
	Confidential *confidentialSummary `json:"confidential,omitempty"`
}

// confidentialSummary is the second act.
type confidentialSummary struct {
	InstanceID   string                 `json:"instance_id"`
	EnclaveID    string                 `json:"enclave_id"`
	ModuleID     string                 `json:"module_id"`
	KeyARN       string                 `json:"key_arn"`
	ParentDenied string                 `json:"parent_denied"` // what the key service says to the instance itself
	Answers      []modelweights.Example `json:"answers"`
}

func (c *confidential) summary() *confidentialSummary {
	if c == nil {
		return nil
	}
	return &confidentialSummary{
		InstanceID: c.parent.ID(), EnclaveID: c.enclave.EnclaveID, ModuleID: c.module,
		KeyARN: c.published.KeyARN, ParentDenied: c.denied, Answers: c.asked,
	}
}

func (d *demo) summary(r *attestation.Result) demoSummary {
	return demoSummary{
		Accel:            d.accel.String(),
		QEMU:             d.tools.QEMU.Version,
		Kernel:           d.tools.Kernel.Release,
		EnclaveID:        d.enclave.EnclaveID,
		HeartbeatSeconds: d.beat.Seconds(),
		TotalSeconds:     d.total.Seconds(),
		Verdict:          verdictOf(r),
		Confidential:     d.second.summary(),
	}
}

func instancePCR(id string) []byte {
	pcr := nsm.InstancePCR(id)
	return pcr[:]
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
