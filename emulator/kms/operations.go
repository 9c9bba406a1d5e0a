package kms

// An operation is what the service does under one name.
type operation struct {
	readOnly bool // in the audit log; as CloudTrail counts, which is not always obvious
	run      func(*call) ([]byte, error)
}

// gives is an operation with an output.
func gives[In, Out any](f func(*call, *In) (*Out, error)) func(*call) ([]byte, error) {
	return func(c *call) ([]byte, error) {
		in, err := input[In](c)
		if err != nil {
			return nil, err
		}
		out, err := f(c, in)
		if err != nil {
			return nil, err
		}
		return encode(out), nil
	}
}

// does is an operation without one: the body of the answer is empty.
func does[In any](f func(*call, *In) error) func(*call) ([]byte, error) {
	return func(c *call) ([]byte, error) {
		in, err := input[In](c)
		if err != nil {
			return nil, err
		}
		return nil, f(c, in)
	}
}

func input[In any](c *call) (*In, error) {
	in := new(In)
	if err := decode(c.body, in); err != nil {
		return nil, refuse(codeSerialization, "%v", err)
	}
	c.event.Request = requestFields(in)
	return in, nil
}

// operations are those of the API (Smithy model of 2014-11-01), complete by the
// client of the SDK; a test compares.
var operations = map[string]operation{
	"CancelKeyDeletion":                   {false, gives((*call).cancelKeyDeletion)},
	"CreateAlias":                         {false, does((*call).createAlias)},
	"CreateKey":                           {false, gives((*call).createKey)},
	"Decrypt":                             {true, gives((*call).decrypt)},
	"DeleteAlias":                         {false, does((*call).deleteAlias)},
	"DeriveSharedSecret":                  {true, gives((*call).deriveSharedSecret)},
	"DescribeKey":                         {true, gives((*call).describeKey)},
	"DisableKey":                          {false, does((*call).disableKey)},
	"DisableKeyRotation":                  {false, does((*call).disableKeyRotation)},
	"EnableKey":                           {false, does((*call).enableKey)},
	"EnableKeyRotation":                   {false, does((*call).enableKeyRotation)},
	"Encrypt":                             {true, gives((*call).encrypt)},
	"GenerateDataKey":                     {true, gives((*call).generateDataKey)},
	"GenerateDataKeyPair":                 {true, gives((*call).generateDataKeyPair)},
	"GenerateDataKeyPairWithoutPlaintext": {true, gives((*call).generateDataKeyPairWithoutPlaintext)},
	"GenerateDataKeyWithoutPlaintext":     {true, gives((*call).generateDataKeyWithoutPlaintext)},
	"GenerateMac":                         {true, gives((*call).generateMac)},
	"GenerateRandom":                      {true, gives((*call).generateRandom)},
	"GetKeyPolicy":                        {true, gives((*call).getKeyPolicy)},
	"GetKeyRotationStatus":                {true, gives((*call).getKeyRotationStatus)},
	"GetPublicKey":                        {true, gives((*call).getPublicKey)},
	"ListAliases":                         {true, gives((*call).listAliases)},
	"ListGrants":                          {true, gives((*call).listGrants)},
	"ListKeyPolicies":                     {true, gives((*call).listKeyPolicies)},
	"ListKeyRotations":                    {true, gives((*call).listKeyRotations)},
	"ListKeys":                            {true, gives((*call).listKeys)},
	"ListResourceTags":                    {true, gives((*call).listResourceTags)},
	"PutKeyPolicy":                        {false, does((*call).putKeyPolicy)},
	"ReEncrypt":                           {true, gives((*call).reEncrypt)},
	"RotateKeyOnDemand":                   {false, gives((*call).rotateKeyOnDemand)},
	"ScheduleKeyDeletion":                 {false, gives((*call).scheduleKeyDeletion)},
	"Sign":                                {true, gives((*call).sign)},
	"TagResource":                         {false, does((*call).tagResource)},
	"UntagResource":                       {false, does((*call).untagResource)},
	"UpdateAlias":                         {false, does((*call).updateAlias)},
	"UpdateKeyDescription":                {false, does((*call).updateKeyDescription)},
	"Verify":                              {true, gives((*call).verify)},
	"VerifyMac":                           {true, gives((*call).verifyMac)},

	"ConnectCustomKeyStore":     {false, not("custom key stores")},
	"CreateCustomKeyStore":      {false, not("custom key stores")},
	"DeleteCustomKeyStore":      {false, not("custom key stores")},
	"DescribeCustomKeyStores":   {true, not("custom key stores")},
	"DisconnectCustomKeyStore":  {false, not("custom key stores")},
	"UpdateCustomKeyStore":      {false, not("custom key stores")},
	"CreateGrant":               {false, not("grants")},
	"ListRetirableGrants":       {true, not("grants")},
	"RetireGrant":               {false, not("grants")},
	"RevokeGrant":               {false, not("grants")},
	"DeleteImportedKeyMaterial": {false, not("keys with imported material")},
	"GetParametersForImport":    {true, not("keys with imported material")},
	"ImportKeyMaterial":         {false, not("keys with imported material")},
	"ReplicateKey":              {false, not("multi-Region keys")},
	"UpdatePrimaryRegion":       {false, not("multi-Region keys")},
	"Decapsulate":               {true, not("ML-KEM keys")},
	"Encapsulate":               {true, not("ML-KEM keys")},
	"GetKeyLastUsage":           {true, not("records of when a key was last used")},
}

// not is an operation about something that is not emulated.
func not(what string) func(*call) ([]byte, error) {
	return func(c *call) ([]byte, error) { return nil, unsupported(what) }
}

func unsupported(what string) *exception {
	return refuse(codeUnsupported, "nitrolab does not emulate %s", what)
}
