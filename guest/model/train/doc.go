// Package train makes the weights of package weights: back-propagation through
// the transformer of package model, and Adam, in plain Go on one core.
//
// Nothing here runs in an enclave. Training is reproducible: equal seeds give
// equal weights, on one architecture. On another the compiler may join
// multiplications and additions, which rounds differently.
package train
