package emulator

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nitrolab/nitrolab/devices/nsm"
	"github.com/nitrolab/nitrolab/devices/nsm/attestation"
	"github.com/nitrolab/nitrolab/images/eif"
)

// A checkedImage is an image that an enclave may be started from, measured.
type checkedImage struct {
	*eif.File
	measurements eif.Measurements
}

// openImage opens an image and makes the checks of the real stack: structure
// and CRC, architecture, signature and its certificate's dates at the time now,
// and memory for 4 times the image (nitro-cli resource_manager.rs).
func openImage(cfg EnclaveConfig, now time.Time) (_ *checkedImage, err error) {
	f, err := eif.OpenFile(cfg.EIFPath)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("%s: %w", cfg.EIFPath, err), f.Close())
		}
	}()
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
	return &checkedImage{f, m}, nil
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
	for i := range cfg.CPUs {
		info.CPUIDs = append(info.CPUIDs, i)
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
		info.EnclaveName = info.ImageName
	}
	if info.EnclaveName == "" {
		base := filepath.Base(cfg.EIFPath)
		info.EnclaveName = base[:len(base)-len(filepath.Ext(base))]
	}
	return info
}

// registers are the platform's PCRs for the image on this Host.
func (im *checkedImage) registers(id Identity, role string) nsm.Measurements {
	m := nsm.Measurements{
		nsm.PCRImage:       [48]byte(im.measurements.PCR0),
		nsm.PCRKernel:      [48]byte(im.measurements.PCR1),
		nsm.PCRApplication: [48]byte(im.measurements.PCR2),
		nsm.PCRInstance:    nsm.InstancePCR(id.InstanceID),
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
