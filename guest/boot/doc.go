// Package boot is PID 1 of an enclave: what guest/cmd/init does between the
// kernel and the application. It follows the init of nitro-cli images step by
// step (init.c of aws-nitro-enclaves-sdk-bootstrap), so that an image whose
// second ramdisk was made for one runs with the other. The differences:
//
//   - all modules of /modules are loaded, in order of their file names, and not
//     only /nsm.ko, because distribution kernels have virtio-mmio and vsock as
//     modules;
//   - cgroup v2 is mounted where v1 was, since kernels have v1 controllers
//     switched off by now;
//   - mount points that the root file system lacks are made;
//   - the loopback interface is brought up and the host name is "enclave";
//   - signals to it are caught and dropped, not blocked, since a Go program
//     cannot keep them blocked;
//   - the status with which the application ended is on the console.
//
// Any failure ends PID 1 after one line on the console, which makes the kernel
// panic: that is how an enclave that cannot start ends, here as on EC2.
package boot
