package door

import (
	"context"
	"errors"
	"net"

	"google.golang.org/grpc/credentials"
	grpcpeer "google.golang.org/grpc/peer"

	"keysetd.example/signing/policy"
)

// peerCredentials carry a connection's caller to gRPC's handlers. There is no handshake: the
// kernel said who it is when the connection was accepted.
type peerCredentials struct{}

// peerInfo is the AuthInfo of a connection.
type peerInfo struct {
	credentials.CommonAuthInfo
	conn *conn
}

// AuthType implements credentials.AuthInfo.
func (peerInfo) AuthType() string { return "peercred" }

// ServerHandshake implements credentials.TransportCredentials.
func (peerCredentials) ServerHandshake(c net.Conn) (net.Conn, credentials.AuthInfo, error) {
	ours, ok := c.(*conn)
	if !ok {
		return nil, nil, errNoCaller
	}
	// Nothing is encrypted, and nothing leaves the host.
	return c, peerInfo{credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}, ours}, nil
}

// ClientHandshake implements credentials.TransportCredentials.
func (peerCredentials) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("these credentials are a server's")
}

// Info implements credentials.TransportCredentials.
func (peerCredentials) Info() credentials.ProtocolInfo {
	return credentials.ProtocolInfo{SecurityProtocol: "peercred"}
}

// Clone implements credentials.TransportCredentials.
func (p peerCredentials) Clone() credentials.TransportCredentials { return p }

// OverrideServerName implements credentials.TransportCredentials.
func (peerCredentials) OverrideServerName(string) error { return nil }

// connOf returns the connection that a request over gRPC came by.
func connOf(ctx context.Context) (*conn, error) {
	if p, ok := grpcpeer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(peerInfo); ok {
			return info.conn, nil
		}
	}
	return nil, errNoCaller
}

func grpcCaller(ctx context.Context) (policy.Caller, error) {
	c, err := connOf(ctx)
	if err != nil {
		return policy.Caller{}, err
	}
	return c.caller, nil
}
