package keys

// Limits of the KMS API reference and of the developer guide's page on quotas. All
// are of bytes; where AWS counts characters, these are characters of UTF-8.
const (
	MaxPlaintext  = 4096 // Encrypt, Sign of a RAW message, GenerateMac: 1..4096
	MaxCiphertext = 6144 // Decrypt: 1..6144
	MaxSignature  = 6144 // Verify: 1..6144
	MaxRandom     = 1024 // GenerateRandom and NumberOfBytes of GenerateDataKey: 1..1024
	MaxPublicKey  = 8192 // DeriveSharedSecret: 1..8192

	MaxPolicy      = 32768 // key policy document
	MaxDescription = 8192  // characters
	MaxTags        = 50    // of one key
	MaxTagKey      = 128   // characters, at least one
	MaxTagValue    = 256   // characters
	MaxAliasName   = 256   // with alias/
	MaxKeyID       = 2048  // of KeyId parameters

	MaxAliases = 50 // of one key

	// MaxKeys is the quota AWS had until 2021; today's 100,000 would let a
	// careless loop fill the memory of a test.
	MaxKeys = 10000

	MinWaitingDays     = 7 // ScheduleKeyDeletion
	MaxWaitingDays     = 30
	DefaultWaitingDays = 30

	MinRotationDays      = 90 // EnableKeyRotation
	MaxRotationDays      = 2560
	DefaultRotationDays  = 365
	MaxOnDemandRotations = 25 // of one key, RotateKeyOnDemand

	MaxListKeys        = 1000 // Limit of ListKeys
	DefaultListKeys    = 100
	MaxListAliases     = 100 // Limit of ListAliases
	DefaultListAliases = 50
)

// maxMaterials bounds the generations of one key. A key that rotates every 90 days
// reaches it after ten centuries, and then keeps its last material.
const maxMaterials = 4096
