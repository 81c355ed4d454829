package vaultemu

import (
	"crypto/rsa"
	"crypto/x509"
	"strings"
	"time"

	"tokenbroker/entra"
)

// Collection is a kind of object, by its name in a path.
type Collection string

// The collections of a vault. A certificate has a key and a secret of its own
// name and version, as in the real one.
const (
	Secrets      Collection = "secrets"
	Certificates Collection = "certificates"
	Keys         Collection = "keys"
)

// noun is one of the collection, in a sentence; one is the same in a code.
func (c Collection) noun() string { return strings.TrimSuffix(string(c), "s") }
func (c Collection) one() string  { return strings.ToUpper(c.noun()[:1]) + c.noun()[1:] }

// Attributes are what is said of a version beside its content. Only a key minds
// its times: it signs within them. A secret can be read before and after, and
// so can certificates, as in the real one.
type Attributes struct {
	Disabled           bool
	NotBefore, Expires time.Time // zero: not said
}

// Certificate is a version of a certificate. Its times, where Attributes does
// not say them, are the leaf's.
type Certificate struct {
	Leaf       *x509.Certificate
	Chain      []*x509.Certificate // the issuers', if it has any
	Key        *rsa.PrivateKey
	Exportable bool // its secret holds the key
	Attributes Attributes
}

// object is everything that has gone by one name.
type object struct {
	versions []*version // the newest last; at least one
	deleted  bool       // softly: it is not found, and its name is taken
}

// version is one of an object. Its fields are replaced, never written into:
// readers keep the copy that they took.
type version struct {
	id          string
	secret      entra.Secret
	contentType string
	cert        *x509.Certificate
	key         *rsa.PrivateKey
	exportable  bool
	managed     bool // part of a certificate
	attributes  Attributes
	created     time.Time
	updated     time.Time
}

// SetSecret makes a new version of a secret, which is the newest from now on,
// and returns its name.
func (s *Server) SetSecret(name string, value entra.Secret, a Attributes) (string, error) {
	return s.add(name, version{secret: value, attributes: a}, Secrets)
}

// AddKey makes a new version of a key that belongs to no certificate.
func (s *Server) AddKey(name string, key *rsa.PrivateKey, a Attributes) (string, error) {
	return s.add(name, version{key: key, attributes: a}, Keys)
}

// AddCertificate makes a new version of a certificate, with its key and its
// secret.
func (s *Server) AddCertificate(name string, c Certificate) (string, error) {
	if c.Leaf == nil || c.Key == nil {
		return "", entra.Errorf(entra.Invalid, "emulator.vault", "certificate %s: leaf and key: required", entra.Quote(name))
	}
	if public, ok := c.Leaf.PublicKey.(*rsa.PublicKey); !ok || !public.Equal(&c.Key.PublicKey) {
		return "", entra.Errorf(entra.Invalid, "emulator.vault", "certificate %s: the key is not the certificate's", entra.Quote(name))
	}
	content, err := c.pem()
	if err != nil {
		return "", entra.Errorf(entra.Invalid, "emulator.vault", "certificate %s: %w", entra.Quote(name), err)
	}
	if c.Attributes.NotBefore.IsZero() {
		c.Attributes.NotBefore = c.Leaf.NotBefore
	}
	if c.Attributes.Expires.IsZero() {
		c.Attributes.Expires = c.Leaf.NotAfter
	}
	v := version{
		secret: entra.NewSecret(content), contentType: "application/x-pem-file", cert: c.Leaf, key: c.Key,
		exportable: c.Exportable, managed: true, attributes: c.Attributes,
	}
	return s.add(name, v, Certificates, Keys, Secrets)
}

// add makes the version the newest of its name in the collections, under one
// id, and returns the id.
func (s *Server) add(name string, v version, collections ...Collection) (string, error) {
	if !canBeNamed(name) {
		return "", entra.Errorf(entra.Invalid, "emulator.vault", "name %s: want letters, digits and hyphens", entra.Quote(name))
	}
	v.id = newVersion()
	v.created = time.Now()
	v.updated = v.created
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range collections {
		if o := s.objects[c][name]; o != nil && o.deleted {
			return "", entra.Errorf(entra.Invalid, "emulator.vault", "%s %s: deleted, and its name is taken: recover it", c.noun(), entra.Quote(name))
		}
	}
	for _, c := range collections {
		if s.objects[c][name] == nil {
			s.objects[c][name] = new(object)
		}
		o, own := s.objects[c][name], v
		o.versions = append(o.versions, &own)
	}
	return v.id, nil
}

// canBeNamed reports whether an object can be called so.
func canBeNamed(name string) bool {
	const letters = "-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	return 0 < len(name) && len(name) < 128 && strings.Trim(name, letters) == ""
}

// SetEnabled switches a version off or on again; an empty version is the
// newest. A certificate's key and secret follow it.
func (s *Server) SetEnabled(c Collection, name, id string, enabled bool) error {
	return s.change(c, name, func(o *object) bool {
		for i, v := range o.versions {
			if v.id == id || id == "" && i == len(o.versions)-1 {
				edited := *v
				edited.attributes.Disabled, edited.updated = !enabled, time.Now()
				o.versions[i] = &edited
				return true
			}
		}
		return false
	})
}

// Delete makes an object be not found any more, with all its versions. A
// certificate's key and secret follow it.
func (s *Server) Delete(c Collection, name string) error { return s.setDeleted(c, name, true) }

// Recover undoes [Server.Delete].
func (s *Server) Recover(c Collection, name string) error { return s.setDeleted(c, name, false) }

func (s *Server) setDeleted(c Collection, name string, deleted bool) error {
	return s.change(c, name, func(o *object) bool {
		o.deleted = deleted
		return true
	})
}

// change edits an object, and those that follow it. The edit reports whether it
// found what it was for.
func (s *Server) change(c Collection, name string, edit func(*object) bool) error {
	all := []Collection{c}
	if c == Certificates {
		all = []Collection{Certificates, Keys, Secrets}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range all {
		if o := s.objects[c][name]; o == nil || !edit(o) {
			return entra.Errorf(entra.NotFound, "emulator.vault", "%s %s: no such version", c.noun(), entra.Quote(name))
		}
	}
	return nil
}

// find returns a version as it is now. The newest is the newest even when it is
// disabled: a vault never falls back to an older one.
func (s *Server) find(c Collection, call *call) (*version, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects[c][call.name]
	if o == nil || o.deleted {
		return nil, notFound(c, call.name, call.version)
	}
	if call.version == "" {
		return o.versions[len(o.versions)-1], nil
	}
	for _, v := range o.versions {
		if v.id == call.version {
			return v, nil
		}
	}
	return nil, notFound(c, call.name, call.version)
}
