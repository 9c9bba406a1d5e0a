package vsock

// A list is a FIFO of streams linked through stream.next. A stream is in one
// list at most, which stream.queued says.
type list struct {
	head, tail *stream
}

func (l *list) empty() bool { return l.head == nil }

func (l *list) push(s *stream) {
	if l.tail == nil {
		l.head = s
	} else {
		l.tail.next = s
	}
	l.tail = s
}

func (l *list) pop() *stream {
	s := l.head
	l.head, s.next = s.next, nil
	if l.head == nil {
		l.tail = nil
	}
	return s
}

// splice moves all of o to the end of l.
func (l *list) splice(o *list) {
	if o.head == nil {
		return
	}
	if l.tail == nil {
		l.head = o.head
	} else {
		l.tail.next = o.head
	}
	l.tail = o.tail
	*o = list{}
}
