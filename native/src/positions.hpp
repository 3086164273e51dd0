// Where the rows of a sequence are for its model. Callers count rows; a model whose positions have several dimensions
// (M-RoPE: Qwen-VL) puts all rows of a picture at one position in time, by lines and columns, and goes on behind its
// longer side.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rn {

using Position = std::array<int32_t, 4>; // time, line, column, unused: as llama.cpp wants them of rows without a token

// Rows first..first + n - 1 are a grid of so many columns. Written into states as it is.
struct Picture {
    int32_t first;
    int32_t n;
    int32_t columns;

    int32_t end() const { return first + n; }
    int32_t lines() const { return n / columns; }
    int32_t n_pos() const { return columns > lines() ? columns : lines(); }
    bool    has(int32_t row) const { return first <= row && row < end(); }
    bool    operator==(const Picture & other) const {
        return first == other.first && n == other.n && columns == other.columns;
    }
};

class Positions {
  public:
    // The position in time of a row, which need not be there yet.
    int32_t at(int32_t row) const;
    Position in_grid(int32_t row) const;

    // How many of `known` rows a memory holds whose last position is `last`; -1: none.
    int32_t rows_until(int32_t last, int32_t known) const;
    // The first row at a position or behind it.
    int32_t first_row(int32_t position) const;

    // Whether rows before `row` and from it on are of one picture: memory cannot tell them apart.
    bool is_inside(int32_t row) const;

    // A picture behind all others. False for one that is no grid, or overlaps the last.
    bool add(const Picture & picture);
    bool holds(const Picture & picture) const;
    // Forgets pictures that begin at this row or behind it.
    void cut(int32_t rows);

    // As bytes, to go with a sequence's state: none where there is no picture.
    size_t size() const { return pictures_.size() * sizeof(Picture); }
    void   write(uint8_t * bytes) const;
    // False, and empty, when the bytes are not what write() wrote of so many rows.
    bool read(const uint8_t * bytes, size_t size, int32_t rows);

  private:
    std::vector<Picture> pictures_; // in order
};

} // namespace rn
