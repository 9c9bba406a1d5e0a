package nitrocli

import "github.com/nitrolab/nitrolab/guest/nitrocli/args"

// The options of the commands, their requirements and conflicts: the macro
// create_app of nitro-cli's lib.rs.
var (
	runEnclaveArgs = args.Command{
		Name: "run-enclave", About: "Starts a new enclave",
		Flags: []args.Flag{
			{
				Name: "cpu-ids", Value: "cpu-ids", Many: true, Help: "IDs of the CPUs for the enclave",
				Required: true, Unless: []string{"cpu-count", "config"}, Conflicts: []string{"cpu-count", "config"},
			},
			{
				Name: "cpu-count", Value: "cpu-count", Help: "Number of CPUs",
				Required: true, Unless: []string{"cpu-ids", "config"}, Conflicts: []string{"cpu-ids", "config"},
			},
			{
				Name: "memory", Value: "memory", Help: "Memory in MiB, or with M, G or T behind; the enclave may get more, as huge pages are whole",
				Required: true, Unless: []string{"config"}, Conflicts: []string{"config"},
			},
			{
				Name: "eif-path", Value: "eif-path", Help: "Enclave image file",
				Required: true, Unless: []string{"config"}, Conflicts: []string{"config"},
			},
			{Name: "enclave-cid", Value: "enclave-cid", Help: "vsock CID for the enclave; 0 for a free one", Conflicts: []string{"config"}},
			{Name: "debug-mode", Help: "Debug mode: the console can be read, and the PCRs of the image are zero", Conflicts: []string{"config"}},
			{Name: "attach-console", Help: "Show the console once the enclave has started (implies --debug-mode)"},
			{Name: "enclave-name", Value: "enclave-name", Help: "Name for the enclave", Conflicts: []string{"config"}},
			{Name: "config", Value: "json-config", Help: "Read the settings from this JSON file"},
		},
	}
	terminateEnclaveArgs = args.Command{
		Name: "terminate-enclave", About: "Terminates an enclave",
		Flags: []args.Flag{
			{
				Name: "enclave-id", Value: "enclave-id", Help: "ID of the enclave",
				Required: true, Unless: []string{"all", "enclave-name"}, Conflicts: []string{"all", "enclave-name"},
			},
			{
				Name: "all", Help: "All enclaves of this user",
				Required: true, Unless: []string{"enclave-id", "enclave-name"}, Conflicts: []string{"enclave-id", "enclave-name"},
			},
			{
				Name: "enclave-name", Value: "enclave-name", Help: "Name of the enclave",
				Required: true, Unless: []string{"enclave-id", "all"}, Conflicts: []string{"enclave-id", "all"},
			},
		},
	}
	buildEnclaveArgs = args.Command{
		Name: "build-enclave", About: "Builds an enclave image and saves it to a file",
		Flags: []args.Flag{
			{Name: "docker-uri", Value: "docker-uri", Help: "Container image: a file or folder, with a transport in front or without (docker-archive:, oci:, oci-archive:, rootfs:)", Required: true},
			{Name: "docker-dir", Value: "docker-dir", Help: "Folder with an OCI layout; one with a Dockerfile needs a docker daemon, which is not asked"},
			{Name: "output-file", Value: "output-file", Help: "The image file to write", Required: true},
			{Name: "signing-certificate", Value: "signing-certificate", Help: "Certificate to sign with, a PEM file", Requires: "private-key"},
			{Name: "private-key", Value: "private-key", Help: "Its EC private key, a PEM file", Requires: "signing-certificate"},
			{Name: "name", Value: "image_name", Help: "Name of the image"},
			{Name: "version", Value: "image_version", Help: "Version of the image"},
			{Name: "metadata", Value: "metadata", Help: "JSON file with metadata of your own"},
		},
	}
	describeEIFArgs = args.Command{
		Name: "describe-eif", About: "Returns information about the EIF found at a given path",
		Flags: []args.Flag{{Name: "eif-path", Value: "eif-path", Help: "Enclave image file", Required: true}},
	}
	describeEnclavesArgs = args.Command{
		Name: "describe-enclaves", About: "Returns a list of the running enclaves",
		Flags: []args.Flag{{Name: "metadata", Help: "Add the metadata of the images"}},
	}
	consoleArgs = args.Command{
		Name: "console", About: "Connect to the console of an enclave",
		Flags: []args.Flag{
			{
				Name: "enclave-id", Value: "enclave-id", Help: "ID of the enclave",
				Required: true, Unless: []string{"enclave-name"}, Conflicts: []string{"enclave-name"},
			},
			{Name: "disconnect-timeout", Value: "disconnect-timeout", Help: "Disconnect after this time in seconds"},
			{
				Name: "enclave-name", Value: "enclave-name", Help: "Name of the enclave",
				Required: true, Unless: []string{"enclave-id"}, Conflicts: []string{"enclave-id"},
			},
		},
	}
	pcrArgs = args.Command{
		Name: "pcr", About: "Return the PCR hash value of the given input",
		Flags: []args.Flag{
			{
				Name: "signing-certificate", Value: "signing-certificate", Help: "PCR8 of this signing certificate, a PEM file",
				Required: true, Unless: []string{"input"}, Conflicts: []string{"input"},
			},
			{
				Name: "input", Value: "input", Help: "PCR of the bytes of this file",
				Required: true, Unless: []string{"signing-certificate"}, Conflicts: []string{"signing-certificate"},
			},
		},
	}
	explainArgs = args.Command{
		Name: "explain", About: "Display detailed information about an error code",
		Flags: []args.Flag{{Name: "error-code", Value: "error-code", Help: "Error code, such as E39", Required: true}},
	}
	signEIFArgs = args.Command{
		Name: "sign-eif", About: "Sign EIF with the given key",
		Flags: []args.Flag{
			{Name: "eif-path", Value: "eif-path", Help: "Enclave image file; an earlier signature is replaced"},
			{Name: "signing-certificate", Value: "signing-certificate", Help: "Certificate to sign with, a PEM file", Requires: "private-key"},
			{Name: "private-key", Value: "private-key", Help: "Its EC private key, a PEM file", Requires: "signing-certificate"},
		},
	}
)
