package eventfd

import (
	"fmt"
	"os"
)

// Check checks that fd, which came from a peer, is an eventfd. Writing to anything
// else could block in spite of O_NONBLOCK, as with a file on a network.
func Check(fd int) error {
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return err
	}
	if name != "anon_inode:[eventfd]" {
		return fmt.Errorf("%s: %w: not an eventfd", name, ErrNotEvent)
	}
	return nil
}
