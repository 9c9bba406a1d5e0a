package eif

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Extract writes the sections of im into files of the directory dir, which is
// made if it is not there, and returns their names in file order:
//
//	kernel, cmdline, metadata.json, ramdisk0, ramdisk1, ...
//	signature.cbor                                       the whole section
//	signing-certificate.pem, signature.cose              its first element
//
// Files hold section data exactly. A malformed signature is extracted as
// signature.cbor alone. Without overwrite a file that exists is an error
// (errors.Is fs.ErrExist) and nothing is changed; on any other error the files
// written so far are removed again.
func Extract(im *Image, dir string, overwrite bool) (names []string, err error) {
	files := im.extractFiles()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, fmt.Errorf("eif: extract: %w", err)
	}
	if !overwrite {
		for _, f := range files {
			if _, err := os.Lstat(filepath.Join(dir, f.name)); err == nil {
				return nil, fmt.Errorf("eif: extract: %s: %w", filepath.Join(dir, f.name), fs.ErrExist)
			}
		}
	}
	defer func() {
		if err != nil {
			for _, name := range names {
				err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
			}
			names = nil
		}
	}()
	for _, f := range files {
		flags := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
		if !overwrite {
			flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL
		}
		out, err := os.OpenFile(filepath.Join(dir, f.name), flags, 0o666)
		if err != nil {
			return names, fmt.Errorf("eif: extract: %w", err)
		}
		names = append(names, f.name)
		_, err = io.Copy(out, f.data)
		if err := errors.Join(err, out.Close()); err != nil {
			return names, fmt.Errorf("eif: extract %s: %w", f.name, err)
		}
	}
	return names, nil
}

type extractFile struct {
	name string
	data *io.SectionReader
}

// extractFiles names the files of an image. No name comes from the image.
func (im *Image) extractFiles() []extractFile {
	var files []extractFile
	ramdisks := 0
	for _, s := range im.sections {
		switch s.Type {
		case SectionKernel:
			files = append(files, extractFile{"kernel", im.data(s)})
		case SectionCmdline:
			files = append(files, extractFile{"cmdline", im.data(s)})
		case SectionMetadata:
			files = append(files, extractFile{"metadata.json", im.data(s)})
		case SectionRamdisk:
			files = append(files, extractFile{fmt.Sprintf("ramdisk%d", ramdisks), im.data(s)})
			ramdisks++
		case SectionSignature:
			files = append(files, extractFile{"signature.cbor", im.data(s)})
		}
	}
	if sig, err := im.Signature(); err == nil {
		files = append(files,
			extractFile{"signing-certificate.pem", bytesSection(sig.CertificatePEM)},
			extractFile{"signature.cose", bytesSection(sig.COSE)})
	}
	return files
}
