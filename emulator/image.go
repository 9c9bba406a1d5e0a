package emulator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/images/eif"
)

// A checkedImage is an image that an enclave may be started from, measured.
type checkedImage struct {
	*eif.Image
	file         *os.File
	measurements eif.Measurements
}

// Close closes the file. The Image must not be used afterwards.
func (im *checkedImage) Close() error { return im.file.Close() }

// A cancelReader is a file that cannot be read any more once ctx has ended: to
// measure an image of some gigabytes takes seconds.
type cancelReader struct {
	ctx context.Context
	r   io.ReaderAt
}

func (c cancelReader) ReadAt(p []byte, off int64) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.ReadAt(p, off)
}

// openImage opens an image and makes the checks of the real stack: structure
// and CRC, architecture, signature and its certificate's dates at the time now,
// and memory for 4 times the image (nitro-cli resource_manager.rs).
func openImage(ctx context.Context, cfg EnclaveConfig, now time.Time) (_ *checkedImage, err error) {
	file, err := os.Open(cfg.EIFPath)
	if err != nil {
		return nil, fmt.Errorf("enclave image: %w", err)
	}
	defer func() {
		if err != nil {
			_ = file.Close() // it was only read
			err = fmt.Errorf("enclave image %s: %w", cfg.EIFPath, err)
		}
	}()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("not a regular file")
	}
	f, err := eif.Open(cancelReader{ctx, file}, info.Size())
	if err != nil {
		return nil, err
	}
	if err := f.RequireArch(eif.X86_64); err != nil {
		return nil, err
	}
	if len(f.Ramdisks()) == 0 {
		return nil, &RequestError{"number of ramdisks of the image", "0", "1 or more: the kernel has nothing to run without"}
	}
	if need := imageMemFactor * f.Size(); int64(cfg.MemoryMiB)<<20 < need {
		return nil, &RequestError{"memory", fmt.Sprintf("%d MiB", cfg.MemoryMiB),
			fmt.Sprintf("at least %d MiB, %d times the size of the image", (need+1<<20-1)>>20, imageMemFactor)}
	}
	m, err := f.Verify()
	if err != nil {
		return nil, err
	}
	if m.Signed {
		if err := f.CheckSignature(m, now); err != nil {
			return nil, err
		}
	}
	return &checkedImage{f, file, m}, nil
}

// describe fills in what does not change while the enclave lives.
func (im *checkedImage) describe(cfg EnclaveConfig, instanceID string, slot uint64, cid uint32) EnclaveInfo {
	info := EnclaveInfo{
		EnclaveName:  cfg.Name,
		EnclaveID:    enclaveID(instanceID, slot),
		ModuleID:     attestation.ModuleID(instanceID, slot),
		ProcessID:    os.Getpid(),
		EnclaveCID:   cid,
		NumberOfCPUs: cfg.CPUs,
		MemoryMiB:    cfg.MemoryMiB,
		Flags:        "NONE",
		Measurements: im.measurements,
	}
	if cfg.Debug {
		info.Flags = "DEBUG_MODE"
	}
	info.CPUIDs = slices.Clone(cfg.CPUIDs)
	if len(info.CPUIDs) == 0 {
		for i := range cfg.CPUs {
			info.CPUIDs = append(info.CPUIDs, i)
		}
	}
	// Metadata is not measured and nothing depends on it, so what cannot be read
	// is left out.
	if meta, err := im.Metadata(); err == nil && meta != nil {
		info.ImageName, info.ImageVersion = meta.ImageName, meta.ImageVersion
		if meta.Build != nil {
			info.Metadata = &eif.MetadataInfo{BuildMetadata: *meta.Build, DockerInfo: meta.DockerInfo, CustomMetadata: meta.CustomMetadata}
		}
	}
	if info.EnclaveName == "" {
		info.EnclaveName = DefaultName(cfg.EIFPath)
	}
	return info
}

// registers are the platform's PCRs for the image on this instance.
func (im *checkedImage) registers(instanceID, role string) nsm.Measurements {
	m := nsm.Measurements{
		nsm.PCRImage:       [48]byte(im.measurements.PCR0),
		nsm.PCRKernel:      [48]byte(im.measurements.PCR1),
		nsm.PCRApplication: [48]byte(im.measurements.PCR2),
		nsm.PCRInstance:    nsm.InstancePCR(instanceID),
	}
	if role != "" {
		m[nsm.PCRRole] = nsm.RolePCR(role)
	}
	if im.measurements.Signed {
		m[nsm.PCRCertificate] = [48]byte(im.measurements.PCR8)
	}
	return m
}

// unpack writes what QEMU boots into dir. The kernel is left out if another one
// is booted in its place.
func (im *checkedImage) unpack(dir string, plan bootPlan) (kernel, initrd string, err error) {
	kernel, initrd = plan.vmlinux, filepath.Join(dir, "initramfs")
	if kernel == "" {
		kernel = filepath.Join(dir, "kernel")
		if err := writeFile(kernel, im.Kernel()); err != nil {
			return "", "", err
		}
	}
	return kernel, initrd, writeFile(initrd, im.Initramfs())
}

func writeFile(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// DefaultName is the name of an enclave that was given none: that of its image's
// file without .eif (nitro-cli src/lib.rs, new_enclave_name).
func DefaultName(eifPath string) string {
	name := filepath.Base(eifPath)
	for strings.HasSuffix(name, ".eif") {
		name = strings.TrimSuffix(name, ".eif")
	}
	return name
}
