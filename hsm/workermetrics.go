package hsm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
)

// WorkerMetrics returns what the worker's Go and process collectors say of its process.
// While the token is down there is no worker, and nothing to return.
func (t *Token) WorkerMetrics(ctx context.Context) ([]*dto.MetricFamily, error) {
	e := t.state.Load().epoch
	if e == nil {
		return nil, nil
	}
	body, err := e.client.Metrics(ctx)
	if err != nil {
		return nil, t.wrap(fmt.Errorf("read the worker's metrics: %w", err))
	}
	var families []*dto.MetricFamily
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); errors.Is(err, io.EOF) {
			return families, nil
		} else if err != nil {
			return nil, t.wrap(fmt.Errorf("read the worker's metrics: %w", err))
		}
		families = append(families, f)
	}
}
