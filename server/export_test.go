package server

import "net/http"

// Answer is what stands at the nth listener: the way of a request to its
// generation, without a connection.
func (s *Server) Answer(n int) http.Handler { return s.generations.handler(n) }
