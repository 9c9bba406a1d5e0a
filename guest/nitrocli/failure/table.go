package failure

// An entry is what there is to say about a code.
type entry struct {
	title string
	// why says when the error appears.
	why string
	// detail has a %s for each piece of information that an [Error] of the code
	// carries; "" if it carries none.
	detail string
	// example is a command line that leads to the error, or one that leads out.
	example string
}

// table has an entry for every code. Titles are nitro-cli's, texts our own.
var table = [...]entry{
	UnspecifiedError: {
		title: "Unspecified error",
		why:   "An error that has no code of its own.",
	},
	MissingArgument: {
		title:   "Missing mandatory argument",
		why:     "A command lacks something that it needs.",
		detail:  "`%s` was not given.",
		example: "a --config file with neither `cpu_count` nor `cpu_ids`",
	},
	ConflictingArgument: {
		title:   "Conflicting arguments",
		why:     "Two settings exclude each other.",
		detail:  "Both `%s` and `%s` were given.",
		example: "a --config file with both `cpu_count` and `cpu_ids`",
	},
	InvalidArgument: {
		title:   "Invalid argument provided",
		why:     "The value of an argument is not of the kind, or not in the range, that the argument takes.",
		detail:  "`%s` cannot be `%s`.",
		example: "nitro-cli run-enclave --cpu-count 1z --memory 512 --eif-path app.eif",
	},
	SocketPairCreationFailure: {
		title: "Socket pair creation failure",
		why:   "The connection between nitro-cli and the process that will look after the enclave could not be made.",
	},
	ProcessSpawnFailure: {
		title: "Process spawn failure",
		why:   "The process that looks after the enclave could not be started.",
	},
	DaemonizeProcessFailure: {
		title: "Daemonize process failure",
		why:   "The process that looks after the enclave could not leave its session.",
	},
	ReadFromDiskFailure: {
		title: "Read from disk failure",
		why:   "The directory with the sockets of the enclave processes, /run/nitro_enclaves or NITRO_CLI_SOCKETS_PATH, cannot be made or read. It must exist and be readable by this user.",
	},
	UnusableConnectionError: {
		title: "Unusable connection error",
		why:   "A connection of an enclave process was used after its end.",
	},
	SocketCloseError: {
		title: "Socket close error",
		why:   "A connection could not be closed.",
	},
	SocketConnectTimeoutError: {
		title: "Socket connect set timeout error",
		why:   "The time limit for the connection to a console could not be set.",
	},
	SocketError: {
		title:   "Socket error",
		why:     "Talking to the process of an enclave failed, mostly because there is no enclave of that ID.",
		example: "nitro-cli describe-enclaves lists the IDs there are",
	},
	EpollError: {
		title: "Epoll error",
		why:   "Waiting for several descriptors at once failed.",
	},
	InotifyError: {
		title: "Inotify error",
		why:   "The enclave process could not watch over its own socket file.",
	},
	InvalidCommand: {
		title: "Invalid command",
		why:   "An enclave process received something that is no command of nitro-cli's protocol.",
	},
	LockAcquireFailure: {
		title: "Lock acquire failure",
		why:   "Data shared between threads could not be locked.",
	},
	ThreadJoinFailure: {
		title: "Thread join failure",
		why:   "A thread of the enclave process did not end as it should.",
	},
	SerdeError: {
		title:   "Serde error",
		why:     "JSON, or a message between nitro-cli and an enclave process, could not be read or written.",
		example: "a --config file that is no JSON object, or in which `memory_mib` is missing or no number",
	},
	FilePermissionsError: {
		title: "File permissions error",
		why:   "The permissions of the log file could not be changed.",
	},
	FileOperationFailure: {
		title:  "File operation failure",
		why:    "A file could not be opened, read, written or removed.",
		detail: "File: '%s', failing operation: '%s'.",
	},
	InvalidCPUConfiguration: {
		title:   "Invalid CPU configuration",
		why:     "A CPU is asked for more than once.",
		detail:  "`%s` has CPU %s more than once.",
		example: "nitro-cli run-enclave --cpu-ids 1 1 --memory 512 --eif-path app.eif",
	},
	NoSuchCPUAvailableInPool: {
		title:   "No such CPU available in the pool",
		why:     "A CPU is asked for that is not set aside for enclaves. CPU 0 and the other threads of its core never are.",
		detail:  "`%s` has CPU %s, which is not in the pool. The pool is set by `cpu_pool` or `cpu_count` in /etc/nitro_enclaves/allocator.yaml and nitro-enclaves-allocator.",
		example: "nitro-cli run-enclave --cpu-ids 0 1 --memory 512 --eif-path app.eif",
	},
	InsufficientCPUs: {
		title:   "Insufficient CPUs available in the pool",
		why:     "More CPUs are asked for than are set aside for enclaves.",
		detail:  "`%s` is %s, more than the pool has. The pool is set by `cpu_count` in /etc/nitro_enclaves/allocator.yaml and nitro-enclaves-allocator.",
		example: "nitro-cli run-enclave --cpu-count 64 --memory 512 --eif-path app.eif",
	},
	MalformedCPUID: {
		title: "Malformed CPU ID error",
		why:   "The list of CPUs in /sys/module/nitro_enclaves/parameters/ne_cpus has something that is no number.",
	},
	CPUError: {
		title:   "CPU error",
		why:     "The list of CPUs in /sys/module/nitro_enclaves/parameters/ne_cpus has something that is no range.",
		example: "0-3-7",
	},
	NoSuchHugepageFlag: {
		title: "No such hugepage flag error",
		why:   "A huge page was asked for in a size that no machine has.",
	},
	InsufficientMemoryRequested: {
		title:   "Insufficient memory requested",
		why:     "The memory of an enclave must be at least 4 times the size of its image.",
		detail:  "`%s` is %s MB, but based on the EIF file size, the minimum memory is %s MB.",
		example: "nitro-cli run-enclave --cpu-count 2 --memory 5 --eif-path app.eif",
	},
	InsufficientMemoryAvailable: {
		title:   "Insufficient memory available",
		why:     "There are not enough free huge pages.",
		detail:  "`%s` is %s MB, more than the free huge pages have. They are set aside by `memory_mib` in /etc/nitro_enclaves/allocator.yaml and nitro-enclaves-allocator.",
		example: "nitro-cli run-enclave --cpu-count 2 --memory 1T --eif-path app.eif",
	},
	InvalidEnclaveFD: {
		title: "Invalid enclave descriptor",
		why:   "The driver gave no descriptor for a new enclave (NE_CREATE_VM).",
	},
	IoctlFailure: {
		title:   "Ioctl failure",
		why:     "The driver or the Nitro hypervisor refused a step of the enclave's start. The cause names the step and the error number.",
		example: "--cpu-count 1 on a machine with two threads per core: NE_ERR_FULL_CORES_NOT_USED",
	},
	IoctlImageLoadInfoFailure: {
		title: "Ioctl image get load info failure",
		why:   "The driver did not say where in the memory the image goes (NE_GET_IMAGE_LOAD_INFO).",
	},
	IoctlSetMemoryRegionFailure: {
		title: "Ioctl set memory region failure",
		why:   "The driver or the Nitro hypervisor refused memory (NE_SET_USER_MEMORY_REGION).",
	},
	IoctlAddVCPUFailure: {
		title: "Ioctl add vCPU failure",
		why:   "The driver or the Nitro hypervisor refused a CPU (NE_ADD_VCPU).",
	},
	IoctlEnclaveStartFailure: {
		title: "Ioctl start enclave failure",
		why:   "The driver or the Nitro hypervisor refused the start (NE_START_ENCLAVE).",
	},
	MemoryOverflow: {
		title: "Memory overflow",
		why:   "The image does not fit into the enclave's memory.",
	},
	EIFParsingError: {
		title: "EIF file parsing error",
		why:   "The file is no enclave image, or could not be read to its end.",
	},
	EnclaveBootFailure: {
		title:   "Enclave boot failure",
		why:     "The enclave was started and did not report that it had booted: it ended before, it took too long, or nobody could listen to it on vsock port 9000, as while another enclave starts.",
		example: "nitro-cli run-enclave ... --attach-console shows what the enclave says",
	},
	EnclaveEventWaitError: {
		title: "Enclave event wait error",
		why:   "Waiting for the end of the enclave failed.",
	},
	EnclaveProcessCommandNotExecuted: {
		title: "Enclave process command not executed error",
		why:   "The process of at least one enclave did not do what it was asked for; the message before this one has the reason.",
	},
	EnclaveProcessConnectionFailure: {
		title: "Enclave process connection failure",
		why:   "The process of at least one enclave did not answer in full. If it had a reason, the message before this one has it.",
	},
	SocketPathNotFound: {
		title: "Socket path not found",
		why:   "No path of a socket can be made from an enclave ID.",
	},
	EnclaveProcessSendReplyFailure: {
		title: "Enclave process send reply failure",
		why:   "The process of an enclave could not send its answer.",
	},
	EnclaveMmapError: {
		title: "Enclave mmap error",
		why:   "Memory for the enclave could not be mapped.",
	},
	EnclaveMunmapError: {
		title: "Enclave munmap error",
		why:   "Memory of the enclave could not be unmapped.",
	},
	EnclaveConsoleConnectionFailure: {
		title:   "Enclave console connection failure",
		why:     "There is no console to connect to. Only enclaves in debug mode have one.",
		example: "nitro-cli run-enclave --debug-mode ... starts one that has",
	},
	EnclaveConsoleReadError: {
		title: "Enclave console read error",
		why:   "Reading from the console failed.",
	},
	EnclaveConsoleWriteOutputError: {
		title: "Enclave console write output error",
		why:   "What came from the console could not be written.",
	},
	IntegerParsingError: {
		title: "Integer parsing error",
		why:   "The CID of the enclave gives no port of a console.",
	},
	EIFBuildingError: {
		title: "EIF building error",
		why:   "The image could not be built. The cause says what is missing.",
	},
	DockerImageBuildError: {
		title:   "Docker image build error",
		why:     "The container image could not be built from its Dockerfile.",
		example: "build it elsewhere, `docker save app -o app.tar`, and give --docker-uri app.tar without --docker-dir",
	},
	DockerImagePullError: {
		title:   "Docker image pull error",
		why:     "There is no container image of that name at hand, and no docker daemon to get it from.",
		example: "`docker save app -o app.tar` elsewhere, and --docker-uri app.tar",
	},
	ArtifactsPathNotSet: {
		title: "Artifacts path environment variable not set",
		why:   "A build needs a directory for its temporary files: set NITRO_CLI_ARTIFACTS or HOME.",
	},
	BlobsPathNotSet: {
		title: "Blobs path environment variable not set",
		why:   "A build needs a directory with kernel, init, nsm.ko and cmdline: set NITRO_CLI_BLOBS.",
	},
	ClockSkewError: {
		title: "Clock skew error",
		why:   "The clock went backwards while a console was read.",
	},
	SignalMaskingError: {
		title: "Signal masking error",
		why:   "Signals could not be held off while the enclave process started.",
	},
	SignalUnmaskingError: {
		title: "Signal unmasking error",
		why:   "Signals could not be let through again after the enclave process started.",
	},
	LoggerError: {
		title: "Logger error",
		why:   "The log could not be opened.",
	},
	HasherError: {
		title: "Hasher error",
		why:   "What should be measured is not what it is said to be, such as a certificate that is no PEM file.",
	},
	EnclaveNamingError: {
		title:   "Naming error",
		why:     "No enclave has that name, or more than one has.",
		example: "nitro-cli describe-enclaves lists the names there are",
	},
	EIFSignatureCheckerError: {
		title: "EIF signature checker error",
		why:   "The image is signed and its signature does not verify, or the signing certificate is not valid at this time; or the file is no image.",
	},
	EIFSigningError: {
		title:   "Signing error",
		why:     "The image could not be signed: key or certificate are missing, unreadable or do not belong together, or the key is in AWS KMS, which this nitro-cli does not call.",
		example: "nitro-cli sign-eif --eif-path app.eif --signing-certificate cert.pem --private-key key.pem",
	},
}

// Every code has an entry.
var _ [len(table)]struct{} = [EIFSigningError + 1]struct{}{}
