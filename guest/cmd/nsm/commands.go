package main

import (
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/nitrolab/nitrolab/devices/nsm/nsmpipe"
	"github.com/nitrolab/nitrolab/devices/nsm/wire"
	"github.com/nitrolab/nitrolab/guest/nsm"
)

func describe(s *nsm.Session, e *env) error {
	r, err := s.DescribeNSM()
	if err != nil {
		return err
	}
	locked := strings.Trim(fmt.Sprint(r.LockedPCRs), "[]")
	_, err = fmt.Fprintf(e.stdout, "module_id %s\nversion %d.%d.%d\ndigest %s\nmax_pcrs %d\nlocked_pcrs %s\n",
		r.ModuleID, r.VersionMajor, r.VersionMinor, r.VersionPatch, r.Digest, r.MaxPCRs, locked)
	return err
}

func parsePCR(args []string) (action, error) {
	if len(args) == 0 {
		return allPCRs, nil
	}
	index, err := number(args, 1)
	return func(s *nsm.Session, e *env) error { return printPCR(s, e, index) }, err
}

func allPCRs(s *nsm.Session, e *env) error {
	r, err := s.DescribeNSM()
	if err != nil {
		return err
	}
	for i := range r.MaxPCRs {
		if err := printPCR(s, e, i); err != nil {
			return err
		}
	}
	return nil
}

func printPCR(s *nsm.Session, e *env, index uint16) error {
	r, err := s.DescribePCR(index)
	if err != nil {
		return err
	}
	lock := "unlocked"
	if r.Lock {
		lock = "locked"
	}
	_, err = fmt.Fprintf(e.stdout, "PCR%d %x %s\n", index, r.Data, lock)
	return err
}

func parseExtend(args []string) (action, error) {
	index, err := number(args, 2)
	if err != nil {
		return nil, err
	}
	data, err := hex.DecodeString(args[1])
	return func(s *nsm.Session, e *env) error {
		value, err := s.ExtendPCR(index, data)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "%x\n", value)
		return err
	}, err
}

func parseLock(args []string) (action, error) {
	index, err := number(args, 1)
	return func(s *nsm.Session, _ *env) error { return s.LockPCR(index) }, err
}

func parseLockRange(args []string) (action, error) {
	n, err := number(args, 1)
	return func(s *nsm.Session, _ *env) error { return s.LockPCRs(n) }, err
}

func random(s *nsm.Session, e *env) error {
	b, err := s.GetRandom()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "%x\n", b)
	return err
}

func parseAttest(args []string) (action, error) {
	var r wire.Attestation
	var out string
	f := flags("attest")
	f.Func("nonce", "", hexTo(&r.Nonce))
	f.Func("user-data", "", hexTo(&r.UserData))
	f.Func("public-key", "", hexTo(&r.PublicKey))
	f.StringVar(&out, "o", "", "")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	if err := count(f.Args(), 0); err != nil {
		return nil, err
	}
	return func(s *nsm.Session, e *env) error {
		doc, err := s.Attest(r)
		if err != nil {
			return err
		}
		switch out {
		case "":
			_, err = fmt.Fprintf(e.stdout, "%x\n", doc)
		case "-":
			_, err = e.stdout.Write(doc)
		default:
			err = os.WriteFile(out, doc, 0o644)
		}
		return err
	}, nil
}

// hexTo decodes a flag into dst. Without the flag dst stays nil and is sent as
// null; an empty flag is an empty byte string.
func hexTo(dst *[]byte) func(string) error {
	return func(s string) (err error) {
		*dst, err = hex.DecodeString(s)
		return err
	}
}

func parseRaw(args []string) (action, error) {
	if err := count(args, 1); err != nil {
		return nil, err
	}
	req, err := hex.DecodeString(args[0])
	return func(s *nsm.Session, e *env) error {
		reply, err := s.Raw(req)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.stdout, "%x\n", reply)
		return err
	}, err
}

func serve(s *nsm.Session, e *env) error {
	return nsmpipe.Serve(e.stdin, e.stdout, s.Raw)
}
