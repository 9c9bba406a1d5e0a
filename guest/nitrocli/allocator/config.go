package allocator

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/nitrolab/nitrolab/guest/nitrocli/cpulist"
)

// ConfigPath is where the configuration is.
const ConfigPath = "/etc/nitro_enclaves/allocator.yaml"

// MaxConfig bounds the configuration file, in bytes.
const MaxConfig = 64 << 10

// maxMemoryMiB is one EiB, more than any machine has.
const maxMemoryMiB = 1 << 40

// A Config is what to set aside. One of CPUCount and CPUPool is not zero.
type Config struct {
	MemoryMiB uint64
	CPUCount  int
	CPUPool   []uint32
}

// ParseConfig reads the configuration: a YAML document of one flat mapping. It
// has "---" in front, memory_mib, and one of cpu_count and cpu_pool; comments
// stand on lines of their own, and a value may be in double quotes. Anything else
// that YAML has is a [*ConfigError], as is a name that comes twice.
func ParseConfig(text string) (Config, error) {
	values, err := parseMapping(text)
	if err != nil {
		return Config{}, err
	}
	var c Config
	memory, cpuCount, cpuPool := values["memory_mib"], values["cpu_count"], values["cpu_pool"]
	switch {
	case memory == nil:
		return c, &ConfigError{Text: "`memory_mib` is missing"}
	case cpuCount == nil && cpuPool == nil:
		return c, &ConfigError{Text: "one of `cpu_count` and `cpu_pool` is missing"}
	case cpuCount != nil && cpuPool != nil:
		return c, &ConfigError{Text: "`cpu_count` and `cpu_pool` exclude each other"}
	}
	if c.MemoryMiB, err = memory.number(maxMemoryMiB); err != nil {
		return c, err
	}
	if cpuCount != nil {
		n, err := cpuCount.number(cpulist.Max)
		c.CPUCount = int(n)
		return c, err
	}
	if c.CPUPool, err = cpulist.Parse(cpuPool.text); err != nil || len(c.CPUPool) == 0 {
		return c, cpuPool.fault("allowed is a list of CPUs such as 2,3,6-9")
	}
	return c, nil
}

// A value is one value of the mapping.
type value struct {
	line       int
	name, text string
}

func (v *value) fault(allowed string) error {
	return &ConfigError{v.line, fmt.Sprintf("`%s` is %q; %s", v.name, v.text, allowed)}
}

// number is a value from 1 to limit.
func (v *value) number(limit uint64) (uint64, error) {
	n, err := strconv.ParseUint(v.text, 10, 64)
	if err != nil || n < 1 || n > limit {
		return 0, v.fault(fmt.Sprintf("allowed are 1 to %d", limit))
	}
	return n, nil
}

// parseMapping reads the lines behind "---".
func parseMapping(text string) (map[string]*value, error) {
	if len(text) > MaxConfig {
		return nil, &ConfigError{0, fmt.Sprintf("the file has more than %d bytes", MaxConfig)}
	}
	values := make(map[string]*value)
	begun := false
	line := 0
	for content := range strings.Lines(text) {
		line++
		content = strings.TrimRight(content, " \t\r\n")
		switch {
		case content == "---":
			if begun {
				return nil, &ConfigError{line, "a second document begins"}
			}
			begun = true
			continue
		case content == "", strings.HasPrefix(strings.TrimLeft(content, " \t"), "#"):
			continue
		case !begun:
			// AWS's script passes over such lines, and then misses values.
			return nil, &ConfigError{line, "a line `---` must come before the first value"}
		}
		v, err := parseLine(line, content)
		if err != nil {
			return nil, err
		}
		if values[v.name] != nil {
			return nil, &ConfigError{line, fmt.Sprintf("`%s` comes twice, before in line %d", v.name, values[v.name].line)}
		}
		values[v.name] = v
	}
	return values, nil
}

// parseLine reads "name: value".
func parseLine(line int, content string) (*value, error) {
	name, text, ok := strings.Cut(content, ":")
	switch name {
	case "memory_mib", "cpu_count", "cpu_pool":
	default:
		return nil, &ConfigError{line, fmt.Sprintf("unexpected %.40q; allowed are memory_mib, cpu_count and cpu_pool", name)}
	}
	trimmed := strings.TrimLeft(text, " \t")
	if len(trimmed) > 1 && trimmed[0] == '"' && trimmed[len(trimmed)-1] == '"' {
		trimmed = trimmed[1 : len(trimmed)-1]
	}
	switch {
	case !ok || trimmed == "":
		return nil, &ConfigError{line, fmt.Sprintf("`%s` has no value", name)}
	case text[0] != ' ' && text[0] != '\t':
		return nil, &ConfigError{line, fmt.Sprintf("a space must follow `%s:`", name)}
	}
	return &value{line, name, trimmed}, nil
}
