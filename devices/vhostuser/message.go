package vhostuser

import (
	"fmt"

	"github.com/nitrolab/nitrolab/devices/internal/scm"
)

// A request is the type of a message from the front-end (QEMU
// docs/interop/vhost-user, "Front-end message types").
type request uint32

const (
	getFeatures         request = 1
	setFeatures         request = 2
	setOwner            request = 3
	resetOwner          request = 4
	setMemTable         request = 5
	setVringNum         request = 8
	setVringAddr        request = 9
	setVringBase        request = 10
	getVringBase        request = 11
	setVringKick        request = 12
	setVringCall        request = 13
	setVringErr         request = 14
	getProtocolFeatures request = 15
	setProtocolFeatures request = 16
	getQueueNum         request = 17
	setVringEnable      request = 18
	getConfig           request = 24
	setConfig           request = 25
)

// Header of a message: request, flags and payload size, 32 bits each,
// little-endian on the hosts nitrolab runs on (the protocol says native).
const (
	headerSize = 12

	flagVersion   = 0x1
	flagReply     = 0x4
	flagNeedReply = 0x8

	versionMask = 0x3
)

// Payload sizes.
const (
	sizeU64    = 8
	sizeState  = 8  // index u32, num u32
	sizeAddr   = 40 // index u32, flags u32, desc, used, avail, log u64
	sizeRegion = 32 // guest address, size, front-end address, file offset, u64 each
	tableHead  = 8  // number of regions u32, padding u32
	configHead = 12 // offset u32, size u32, flags u32

	// maxRegions is the protocol's limit without CONFIGURE_MEM_SLOTS.
	maxRegions = 8

	// maxConfig is the largest configuration space (VHOST_USER_MAX_CONFIG_SIZE).
	maxConfig = 256

	// maxPayload bounds what is read for any message. The largest one served
	// is GET_CONFIG with 268 bytes; a little more is read in order to be
	// refused by an answer.
	maxPayload = 512

	// maxFDs is how many descriptors come with a message at most, those of
	// SET_MEM_TABLE.
	maxFDs = maxRegions
)

// A kind is what is known of a request before looking into it.
type kind struct {
	min, max int  // payload bytes
	fds      int  // at most
	replies  bool // has an answer of its own, and never an acknowledgement
	handle   func(*session, *message) (reply []byte, err error)
}

// kinds are the requests that are served. Everything else belongs to a
// protocol feature that is not offered.
var kinds = map[request]kind{
	getFeatures:         {0, 0, 0, true, (*session).getFeatures},
	setFeatures:         {sizeU64, sizeU64, 0, false, (*session).setFeatures},
	getProtocolFeatures: {0, 0, 0, true, (*session).getProtocolFeatures},
	setProtocolFeatures: {sizeU64, sizeU64, 0, false, (*session).setProtocolFeatures},
	setOwner:            {0, 0, 0, false, (*session).setOwner},
	resetOwner:          {0, 0, 0, false, (*session).resetOwner},
	getQueueNum:         {0, 0, 0, true, (*session).getQueueNum},
	getConfig:           {configHead, configHead + maxConfig, 0, true, (*session).getConfig},
	setConfig:           {configHead, configHead + maxConfig, 0, false, (*session).setConfig},
	setMemTable:         {tableHead, tableHead + maxRegions*sizeRegion, maxRegions, false, (*session).setMemTable},
	setVringNum:         {sizeState, sizeState, 0, false, (*session).setVringNum},
	setVringAddr:        {sizeAddr, sizeAddr, 0, false, (*session).setVringAddr},
	setVringBase:        {sizeState, sizeState, 0, false, (*session).setVringBase},
	getVringBase:        {sizeState, sizeState, 0, true, (*session).getVringBase},
	setVringKick:        {sizeU64, sizeU64, 1, false, (*session).setVringKick},
	setVringCall:        {sizeU64, sizeU64, 1, false, (*session).setVringCall},
	setVringErr:         {sizeU64, sizeU64, 1, false, (*session).setVringErr},
	setVringEnable:      {sizeState, sizeState, 0, false, (*session).setVringEnable},
}

// names are the requests of the protocol, served or not, by number.
var names = [...]string{
	1: "GET_FEATURES", "SET_FEATURES", "SET_OWNER", "RESET_OWNER", "SET_MEM_TABLE", "SET_LOG_BASE", "SET_LOG_FD",
	"SET_VRING_NUM", "SET_VRING_ADDR", "SET_VRING_BASE", "GET_VRING_BASE", "SET_VRING_KICK", "SET_VRING_CALL",
	"SET_VRING_ERR", "GET_PROTOCOL_FEATURES", "SET_PROTOCOL_FEATURES", "GET_QUEUE_NUM", "SET_VRING_ENABLE",
	"SEND_RARP", "NET_SET_MTU", "SET_BACKEND_REQ_FD", "IOTLB_MSG", "SET_VRING_ENDIAN", "GET_CONFIG", "SET_CONFIG",
	"CREATE_CRYPTO_SESSION", "CLOSE_CRYPTO_SESSION", "POSTCOPY_ADVISE", "POSTCOPY_LISTEN", "POSTCOPY_END",
	"GET_INFLIGHT_FD", "SET_INFLIGHT_FD", "GPU_SET_SOCKET", "RESET_DEVICE", "VRING_KICK", "GET_MAX_MEM_SLOTS",
	"ADD_MEM_REG", "REM_MEM_REG", "SET_STATUS", "GET_STATUS", "GET_SHARED_OBJECT", "SET_DEVICE_STATE_FD",
	"CHECK_DEVICE_STATE",
}

// String is the name in the protocol.
func (r request) String() string {
	if int64(r) < int64(len(names)) && names[r] != "" {
		return names[r]
	}
	return fmt.Sprintf("request %d", uint32(r))
}

// A message is one request as received. Payload and descriptors are valid
// until the next one is received.
type message struct {
	request   request
	needReply bool
	payload   []byte
	fds       scm.List
}
