package kernelimage

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
)

// A Config is a kernel configuration: the value of each symbol that is set,
// "y", "m", a number or a quoted string, by its name with CONFIG_ in front.
type Config map[string]string

// Value gives the value of a symbol, empty if it is not set. The CONFIG_ in
// front may be left out.
func (c Config) Value(name string) string {
	if !strings.HasPrefix(name, "CONFIG_") {
		name = "CONFIG_" + name
	}
	return c[name]
}

// Has reports whether a symbol is built in or a module.
func (c Config) Has(name string) bool {
	v := c.Value(name)
	return v == "y" || v == "m"
}

// ParseConfig reads a kernel configuration, as in Debian's /boot/config-* or as
// embedded with CONFIG_IKCONFIG, of at most 4 MiB. Lines that set nothing are
// passed over.
func ParseConfig(r io.Reader) (Config, error) {
	c := Config{}
	lim := &io.LimitedReader{R: r, N: maxConfig + 1}
	lines := bufio.NewScanner(lim)
	for lines.Scan() {
		name, value, ok := strings.Cut(lines.Text(), "=")
		if ok && strings.HasPrefix(name, "CONFIG_") {
			c[strings.Clone(name)] = strings.Clone(strings.TrimSpace(value))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read kernel configuration: %w", err)
	}
	if lim.N == 0 {
		return nil, fmt.Errorf("read kernel configuration: over %d bytes: %w", maxConfig, ErrTooBig)
	}
	return c, nil
}

// embeddedConfig finds the configuration that CONFIG_IKCONFIG leaves in a
// kernel (kernel/configs.c: gzip between IKCFG_ST and IKCFG_ED). It is nil where
// there is none; one that does not read is taken for none.
func embeddedConfig(kernel []byte) Config {
	_, packed, ok := bytes.Cut(kernel, []byte("IKCFG_ST\x1f\x8b"))
	if !ok {
		return nil
	}
	packed = kernel[len(kernel)-len(packed)-2:] // the gzip magic belongs to it
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return nil
	}
	z.Multistream(false)
	c, err := ParseConfig(z)
	if err != nil {
		return nil
	}
	return c
}
