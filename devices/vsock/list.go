package vsock

// A list is a FIFO of streams linked through their next and prev fields. A
// stream is in one list at most, which stream.queued says.
type list struct {
	head, tail *stream
}

func (l *list) push(s *stream) {
	s.prev = l.tail
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
}

// remove takes out s, which must be in the list.
func (l *list) remove(s *stream) {
	if s.prev == nil {
		l.head = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next == nil {
		l.tail = s.prev
	} else {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
}
