package vsock

// A list is a FIFO of nodes, which are part of what they stand for.
type list[T any] struct {
	head, tail *node[T]
}

// A node is the place of something in a list, in one at most.
type node[T any] struct {
	of         *T
	next, prev *node[T]
	listed     bool
}

func (l *list[T]) push(n *node[T]) {
	n.listed = true
	n.prev = l.tail
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

// remove takes out n, which must be in the list.
func (l *list[T]) remove(n *node[T]) {
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.next, n.prev, n.listed = nil, nil, false
}
