package instance

import "github.com/u-root/u-root/pkg/cpio"

// usrLinks are the folders that are in /usr, as in Amazon Linux since 2022. Programs
// with the old paths in them, and scripts, find theirs either way.
var usrLinks = []struct{ name, target string }{
	{"bin", "usr/bin"}, {"sbin", "usr/sbin"}, {"lib", "usr/lib"}, {"lib64", "usr/lib64"},
}

// bundleFile is the file of certificates that programs of the guest trust
// (guest/instance).
const bundleFile = "/etc/ssl/certs/ca-certificates.crt"

// skeleton are the folders and small files of the image. What depends on which
// instance it is, PID 1 writes at each resume: /etc/hostname, /etc/hosts,
// and the certificates of its Host's services.
func skeleton() []cpio.Record {
	files := []cpio.Record{
		// The kernel opens it for PID 1 before there is a /dev.
		cpio.CharDev("dev/console", 0o600, 5, 1),
		cpio.Directory("root", 0o700),
		cpio.Directory("tmp", 0o1777),
		cpio.Directory("var/tmp", 0o1777),
		cpio.Symlink("var/run", "/run"),
		cpio.Symlink("var/lock", "/run/lock"),
		cpio.Symlink("etc/mtab", "/proc/self/mounts"),

		// Where programs of other distributions look for the certificates that PID 1
		// writes at a resume.
		cpio.Symlink("etc/pki/tls/certs/ca-bundle.crt", bundleFile),
		cpio.Symlink("etc/pki/tls/cert.pem", bundleFile),
		cpio.Symlink("etc/ssl/cert.pem", bundleFile),

		text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
		// "ne" is who may start enclaves where not everybody is root.
		text("etc/group", "root:x:0:\ntty:x:5:\nnobody:x:65534:\nne:x:990:\n"),
		cpio.StaticFile("etc/shadow", "root:*::0:::::\nnobody:*::0:::::\n", 0o600),
		text("etc/shells", "/bin/sh\n/bin/ash\n"),
		text("etc/hostname", "localhost\n"),
		text("etc/hosts", "127.0.0.1 localhost\n::1 localhost\n"),
		// The resolver of every VPC. PID 1 takes queries there, and the Host answers
		// (guest/linklocal).
		text("etc/resolv.conf", "nameserver 169.254.169.253\n"),
		text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
		text("etc/services", "ssh 22/tcp\ndomain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\n"),
		text("etc/fstab", ""),
		text("etc/os-release", "NAME=\"nitrolab instance\"\nPRETTY_NAME=\"nitrolab parent instance\"\nID=nitrolab\nVARIANT_ID=parent\n"),
		text("etc/profile", "export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPS1='[\\u@\\h \\w]\\$ '\n"),

		// Where the enclave tools of AWS keep their things (aws-nitro-enclaves-cli).
		text("etc/nitro_enclaves/vsock-proxy.yaml", proxyConfig()),
		text("etc/nitro_enclaves/allocator.yaml", "---\n# MiB of memory and number of CPUs set aside for enclaves.\nmemory_mib: 512\ncpu_count: 2\n"),
	}
	for _, d := range []string{
		"etc/ssl/certs", "proc", "sys", "run", "mnt", "opt", "home", "srv",
		"usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "usr/local/bin", "usr/local/sbin",
		"usr/share/nitro_enclaves/blobs", "usr/share/nitro_enclaves/examples",
		"var/cache", "var/lib", "var/log/nitro_enclaves",
	} {
		files = append(files, cpio.Directory(d, 0o755))
	}
	for _, l := range usrLinks {
		files = append(files, cpio.Symlink(l.name, l.target))
	}
	return files
}
