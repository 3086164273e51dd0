#include "positions.hpp"

#include <algorithm>
#include <cstring>

namespace rn {

int32_t Positions::at(int32_t row) const {
    int32_t saved = 0; // positions that pictures take less than rows
    for (const Picture & picture : pictures_) {
        if (row < picture.end()) {
            return std::min(row, picture.first) - saved;
        }
        saved += picture.n - picture.n_pos();
    }
    return row - saved;
}

Position Positions::in_grid(int32_t row) const {
    const int32_t time = at(row);
    for (const Picture & picture : pictures_) {
        if (picture.has(row)) {
            const int32_t i = row - picture.first;
            return {time, time + i / picture.columns, time + i % picture.columns, 0};
        }
    }
    return {time, time, time, time};
}

int32_t Positions::rows_until(int32_t last, int32_t known) const {
    return last < 0 ? 0 : std::min(first_row(last + 1), std::max(known, last + 1));
}

int32_t Positions::first_row(int32_t position) const {
    int32_t saved = 0;
    for (const Picture & picture : pictures_) {
        if (position <= picture.first - saved) {
            break;
        }
        if (position < picture.first - saved + picture.n_pos()) {
            return picture.end();
        }
        saved += picture.n - picture.n_pos();
    }
    return position + saved;
}

bool Positions::is_inside(int32_t row) const {
    return std::any_of(pictures_.begin(), pictures_.end(),
                       [row](const Picture & picture) { return picture.first < row && row < picture.end(); });
}

bool Positions::add(const Picture & picture) {
    const int32_t least = pictures_.empty() ? 0 : pictures_.back().end();
    if (picture.first < least || picture.columns < 1 || picture.n < picture.columns ||
        picture.n % picture.columns != 0 || picture.n > INT32_MAX - picture.first) {
        return false;
    }
    pictures_.push_back(picture);
    return true;
}

bool Positions::holds(const Picture & picture) const {
    return std::find(pictures_.begin(), pictures_.end(), picture) != pictures_.end();
}

void Positions::cut(int32_t rows) {
    while (!pictures_.empty() && pictures_.back().first >= rows) {
        pictures_.pop_back();
    }
}

void Positions::write(uint8_t * bytes) const {
    if (!pictures_.empty()) {
        std::memcpy(bytes, pictures_.data(), size());
    }
}

bool Positions::read(const uint8_t * bytes, size_t size, int32_t rows) {
    pictures_.clear();
    bool is_right = size % sizeof(Picture) == 0;
    for (size_t at = 0; is_right && at < size; at += sizeof(Picture)) {
        Picture picture;
        std::memcpy(&picture, bytes + at, sizeof picture);
        is_right = picture.first < rows && add(picture);
    }
    if (!is_right) {
        pictures_.clear();
    }
    return is_right;
}

} // namespace rn
