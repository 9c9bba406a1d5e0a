package qemu

import (
	"encoding/json"
	"fmt"
	"strings"
)

// single are the options of which QEMU silently takes the last.
var single = map[string]bool{
	"-append": true, "-bios": true, "-cpu": true, "-display": true,
	"-initrd": true, "-kernel": true, "-m": true, "-name": true,
	"-nodefaults": true, "-no-reboot": true, "-qmp": true, "-S": true,
	"-sandbox": true, "-smp": true,
}

// checkUnique finds what must not be there twice: single options, the machine's
// type and properties, ids of one kind, slots of one bus.
func checkUnique(args []string) error {
	seen := make(map[string]bool)
	once := func(kind, what string) error {
		key := kind + "\x00" + what
		if seen[key] {
			return fmt.Errorf("%s %q is there twice", kind, what)
		}
		seen[key] = true
		return nil
	}
	for _, o := range options(args) {
		if single[o.name] {
			if err := once("option", o.name); err != nil {
				return err
			}
		}
		switch o.name {
		case "-M", "-machine":
			for _, p := range properties(o.value, "type") {
				if err := once("machine property", p.name); err != nil {
					return err
				}
			}
		case "-device", "-chardev", "-object", "-netdev", "-blockdev", "-drive", "-fsdev":
			props := properties(o.value, "driver")
			if id := lookup(props, "id"); id != "" {
				if err := once("id of "+o.name, id); err != nil {
					return err
				}
			}
			bus, addr := lookup(props, "bus"), lookup(props, "addr")
			// A virtio-mmio slot takes one device, other buses take one per
			// address.
			if strings.HasPrefix(bus, "virtio-mmio-bus.") || addr != "" {
				if err := once("slot", strings.TrimSpace(bus+" "+addr)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// An option is one option with its value, empty if it takes none.
type option struct{ name, value string }

func options(args []string) []option {
	var opts []option
	for i := 0; i < len(args); i++ {
		o := option{name: args[i]}
		if i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			i++
			o.value = args[i]
		}
		opts = append(opts, o)
	}
	return opts
}

type property struct{ name, value string }

// properties takes "first,name=value,..." or a JSON object apart. The first
// value, if it has no name, is called first.
func properties(s, first string) []property {
	if strings.HasPrefix(s, "{") {
		var m map[string]any
		if json.Unmarshal([]byte(s), &m) != nil {
			return nil // QEMU will say so
		}
		var props []property
		for k, v := range m {
			props = append(props, property{k, fmt.Sprint(v)})
		}
		return props
	}
	var props []property
	for i, part := range splitCommas(s) {
		name, value, ok := strings.Cut(part, "=")
		if !ok && i == 0 {
			name, value = first, part
		}
		props = append(props, property{name, value})
	}
	return props
}

// splitCommas splits at single commas; doubled ones stand for themselves.
func splitCommas(s string) []string {
	const placeholder = "\x00"
	parts := strings.Split(strings.ReplaceAll(s, ",,", placeholder), ",")
	for i := range parts {
		parts[i] = strings.ReplaceAll(parts[i], placeholder, ",")
	}
	return parts
}

func lookup(props []property, name string) string {
	for _, p := range props {
		if p.name == name {
			return p.value
		}
	}
	return ""
}
